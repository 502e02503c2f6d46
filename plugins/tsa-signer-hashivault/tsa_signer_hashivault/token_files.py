"""Tokens and other secrets in files that others write: agents, the kubelet, `vault login`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError, UnavailableError, read_file

_MAX_OCTETS: Final = 64 * 1024


def read_token(path: Path, where: str) -> str:
    """Return the token in a file; raises ConfigError when there is none."""
    try:
        text = read_file(path, "token", limit=_MAX_OCTETS).decode("ascii").strip()
    except UnavailableError:
        raise
    except ConfigError as error:
        raise ConfigError(str(error), path=where) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the token's file {path} holds no token", path=where) from None
    return usable_token(text, where)


def usable_token(token: str, where: str) -> str:
    """Return a token without the blanks around it; raises ConfigError for what cannot be one."""
    token = token.strip()
    # The header takes printable ASCII only, and the library that refuses the rest repeats the value.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token is empty or has characters that no token has", path=where)
    return token
