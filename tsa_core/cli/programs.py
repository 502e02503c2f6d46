"""The programs that need the extra `server`: each looks whether it is installed before it imports anything else."""

from __future__ import annotations

from typing import NoReturn

from tsa_core.server_extra import require_server


def timestamp_server() -> NoReturn:
    """Run timestamp-server as a process."""
    require_server("timestamp-server")
    from tsa_core.cli.server import program

    program()


def fetch_tsa_certs() -> None:
    """Run fetch-tsa-certs."""
    require_server("fetch-tsa-certs")
    from tsa_core.cli.fetch_tsa_certs import main

    main()


def certificate_maker() -> None:
    """Run certificate-maker."""
    require_server("certificate-maker")
    from tsa_core.cli.certificate_maker import main

    main()
