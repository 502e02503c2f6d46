"""How to log in to Vault or OpenBao: by AppRole, a Kubernetes service account, or a JWT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from tsa_core.api import ConfigError
from tsa_signer_hashivault.options import LoginOptions
from tsa_signer_hashivault.token_files import read_token

SERVICE_ACCOUNT_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "approle": frozenset({"role_id", "secret_id", "secret_id_file"}),
    "kubernetes": frozenset({"role", "jwt_file"}),
    "jwt": frozenset({"role", "jwt", "jwt_file"}),
}
_ALL: Final = sorted({"login_mount"}.union(*_FIELDS.values()))
_CHECK: Final = {
    "approle": "are role_id and secret_id right, and is the secret_id neither used up nor expired?",
    "kubernetes": "does the role exist, may this service account use it, and are the clocks right?",
    "jwt": "is the JWT valid, with the issuer, audience and claims of the role, and are both machines' clocks right?",
}


@dataclass(frozen=True, kw_only=True)
class Login:
    """An auth method and what it is given; files are read at each login, because others replace them."""

    method: str
    mount: str
    name: str | None
    """The role_id of an AppRole, else the name of the role; None: the method's default role."""
    secret: SecretStr | None = field(default=None, repr=False)
    secret_file: Path | None = None
    setting: str = ""
    """The setting of the file, for messages."""

    @property
    def path(self) -> str:
        """The path that logs in."""
        return f"auth/{self.mount}/login"

    @property
    def check(self) -> str:
        """What to look at when the server refuses."""
        return _CHECK[self.method]

    def body(self) -> dict[str, str]:
        """Return what the server is sent; raises ConfigError for a file that cannot be read."""
        secret = ""
        if self.secret is not None:
            secret = self.secret.get_secret_value()
        elif self.secret_file is not None:
            secret = read_token(self.secret_file, self.setting)
        names = ("role_id", "secret_id") if self.method == "approle" else ("role", "jwt")
        return {name: value for name, value in zip(names, (self.name, secret), strict=True) if value}


def read_login(options: LoginOptions, where: str, *, token_given: bool) -> Login | None:
    """Return how the settings say to log in, None for a token; raises ConfigError for what is missing or in vain.

    `where` stands before the settings' names in messages.
    """
    given = [name for name in _ALL if getattr(options, name) is not None]
    if options.login is None:
        if given:
            raise ConfigError(f"has no effect without login = one of {', '.join(_FIELDS)}", path=f"{where}{given[0]}")
        return None
    if token_given:
        raise ConfigError("a token is given too; give the token or the login, not both", path=f"{where}login")
    for name in given:
        if name not in _FIELDS[options.login] | {"login_mount"}:
            raise ConfigError(f'has no effect with login = "{options.login}"', path=f"{where}{name}")
    needed = {"approle": "role_id", "kubernetes": "role"}.get(options.login)
    if needed and getattr(options, needed) is None:
        raise ConfigError(f'login = "{options.login}" needs it', path=f"{where}{needed}")
    kind = "secret_id" if options.login == "approle" else "jwt"
    secret: SecretStr | None = getattr(options, kind)
    file: Path | None = getattr(options, f"{kind}_file")
    if secret is not None and file is not None:
        raise ConfigError(f"{kind} is given too; give one of them", path=f"{where}{kind}_file")
    if options.login == "kubernetes" and file is None:
        file = SERVICE_ACCOUNT_TOKEN
    if options.login == "jwt" and secret is None and file is None:
        raise ConfigError('login = "jwt" needs it, or jwt', path=f"{where}jwt_file")
    return Login(
        method=options.login,
        mount=(options.login_mount or options.login).strip("/"),
        name=options.role_id if options.login == "approle" else options.role,
        secret=secret,
        secret_file=file,
        setting=f"{where}{kind}_file",
    )
