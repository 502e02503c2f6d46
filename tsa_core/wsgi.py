"""The application for any WSGI server: `waitress-serve --call tsa_core.wsgi:create_app`.

Settings come from the file that TSA_CONFIG names and from TSA_... variables; see docs/configure.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable
from typing import Any

from tsa_core.api import TsaError
from tsa_core.config import load_settings
from tsa_core.http import create_app as create_http_app
from tsa_core.http.observing import Observatory
from tsa_core.logs import set_up_logging
from tsa_core.service import CertificateWatch, Service


def create_app() -> Callable[..., Any]:
    """Return the WSGI application; a mistake in the configuration ends the process with one line and code 2."""
    try:
        settings = load_settings()
        if not logging.getLogger().handlers:
            set_up_logging(settings.log)
        observatory = Observatory(settings, forks=False, ours=False)
        service = Service(settings)
    except TsaError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"tsa-core: error: {line}\n")
        raise SystemExit(2) from None
    for warning in service.warnings:
        logging.getLogger(__name__).warning(warning)
    CertificateWatch().look(
        {"name": profile.name, "issues_until": profile.not_after.isoformat()}
        for profile in service.authority.profiles.values()
    )
    # The last is closed first.
    atexit.register(observatory.close)
    atexit.register(service.close)
    atexit.register(observatory.leave)
    return create_http_app(service, observatory.middleware(service))
