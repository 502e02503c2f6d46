"""SoftHSM 2, a PKCS#11 token in files; it runs inside the process that signs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_core.api import PublicKey
from tsa_core.testing import missing, require_program, shared_key

PIN = "user-pin-4d6e0b17"
SO_PIN = "officer-pin-90aa31c5"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
_IN_TOKEN = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

module, token, pin, label, action = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
if action.startswith("generate"):
    name = "brainpoolp256r1" if action == "generate-brainpool" else "secp256r1"
    curve = pkcs11.util.ec.encode_named_curve_parameters({"brainpoolp256r1": "1.3.36.3.3.2.8.1.1.7"}.get(name, name))
    domain = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
    private = {Attribute.ALWAYS_AUTHENTICATE: True} if action == "generate-always-authenticate" else {}
    domain.generate_keypair(label=label, id=b"generated", store=True, private_template=private)
elif action in {"sign", "no-sign"}:
    session.get_key(label=label, object_class=ObjectClass.PRIVATE_KEY)[Attribute.SIGN] = action == "sign"
elif action == "destroy":
    for item in list(session.get_objects({Attribute.LABEL: label})):
        item.destroy()
elif action == "destroy-public":
    session.get_key(label=label, object_class=ObjectClass.PUBLIC_KEY).destroy()
elif action == "certificate":
    key = session.get_key(label=label, object_class=ObjectClass.PRIVATE_KEY)
    from pkcs11.util.x509 import decode_x509_certificate
    attributes = decode_x509_certificate(sys.stdin.buffer.read())
    session.create_object({**attributes, Attribute.TOKEN: True, Attribute.ID: key.id, Attribute.LABEL: "a certificate"})
"""


def find_module() -> Path:
    """Return where SoftHSM's module is; without it, skip or fail as tests with missing programs do."""
    found = [Path(name) for name in _MODULES if Path(name).is_file()]
    return found[0] if found else missing("there is no libsofthsm2.so; install softhsm2")


class SoftHsm:
    """One token store in a folder. `environment` leads a process to it; `kill` takes the tokens away, `start` back."""

    def __init__(self, folder: Path) -> None:
        self._util = require_program("softhsm2-util", package="softhsm2")
        self.module = find_module()
        self._tokens = folder / "tokens"
        self._away = folder / "tokens.away"
        self._keys = folder / "key.pem"
        self._count = 0
        self._tokens.mkdir()
        configuration = folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.environment: Mapping[str, str] = {"SOFTHSM2_CONF": str(configuration)}

    def _run(self, *arguments: str | Path) -> str:
        result = subprocess.run(
            [self._util, *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def make_token(self, label: str) -> str:
        """Initialise a token and return its label."""
        self._run("--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN)
        return label

    def make_key(self, token: str, label: str, kind: str = "ecdsa-p256", *, public: bool = True) -> PublicKey:
        """Import a key of a kind that tsa_core.testing knows and return its public half."""
        key = shared_key(kind)
        self._keys.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._count += 1
        options = [] if public else ["--no-public-key"]
        self._run(
            *("--import", self._keys, "--token", token, "--label", label, "--id", f"{self._count:04x}", "--pin", PIN),
            *options,
        )
        return key.public_key()

    def in_token(self, action: str, token: str, label: str, *, data: bytes = b"") -> None:
        """Change an object from a process of its own, as a token's administrator would."""
        result = subprocess.run(
            [sys.executable, "-c", _IN_TOKEN, self.module, token, PIN, label, action],
            env=dict(self.environment),
            input=data,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stderr.decode(errors="replace")

    def kill(self) -> None:
        """Take the tokens away, as pulling the device's plug does."""
        self._tokens.rename(self._away)

    def start(self) -> None:
        """Put the tokens back."""
        if self._away.exists():
            self._away.rename(self._tokens)
