"""Backends with a key for the faults: Vault, AWS and Google KMS, Azure Key Vault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from bench.faults.scene import Scene, WatchedServer
from tests.interop import builds
from tests.interop.kms_judge import AwsJudge, GcpJudge, KmsJudge
from tsa_backends.key_vault import KeyVault
from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_core.api import PublicKey
from tsa_core.testing import Pki, write_pem


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A key in a running backend; `settings` is TOML after the profile's, `handle` what breaks and mends it."""

    uri: str
    settings: str
    public_key: PublicKey
    handle: Any
    environ: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def serve(self, scene: Scene, *, timeout: str = "2s") -> Iterator[WatchedServer]:
        """Serve with the key and a chain for it; further servers of the scene have the same chain."""
        with scene.serve(self.toml(scene, timeout=timeout), environ=self.environ) as server:
            assert server.grants(), server.log
            yield server

    def toml(self, scene: Scene, *, timeout: str = "2s") -> str:
        """Return the configuration; the first call writes the chain."""
        chain = scene.folder / "chain.pem"
        if not chain.exists():
            write_pem(chain, Pki().chain(self.public_key))
        profile = f'[profiles.default]\nsigner = "{self.uri}"\ncertificate_chain = "chain.pem"\n'
        return f'{profile}signer_timeout = "{timeout}"\n{self.settings}'


Opened = Callable[[Scene], AbstractContextManager[Backend]]


READ = 'path "transit/keys/tsa" { capabilities = ["read"] }\n'
SIGN = 'path "transit/sign/tsa/*" { capabilities = ["update"] }\n'


@dataclass(frozen=True)
class Vault:
    """The server, and the file with the AppRole's secret."""

    bao: OpenBao
    scene: Scene

    def policy(self, text: str) -> None:
        """Put the policy of the AppRole's tokens in place."""
        self.bao.call("PUT", "sys/policies/acl/tsa", {"policy": text})

    def new_secret(self) -> None:
        """Put a new secret_id into the file."""
        secret = self.bao.call("POST", "auth/approle/role/tsa/secret-id", {})["secret_id"]
        (self.scene.folder / "secret-id").write_text(secret, encoding="ascii")

    def revoke(self) -> None:
        """Revoke every token that the AppRole got."""
        for accessor in self.bao.call("LIST", "auth/token/accessors")["keys"]:
            token = self.bao.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
            if token["path"].startswith("auth/approle"):
                self.bao.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})

    def withdraw(self) -> None:
        """Make the secret_id worthless, and end the tokens."""
        (self.scene.folder / "secret-id").write_text("00000000-0000-0000-0000-000000000000", encoding="ascii")
        self.revoke()


@contextmanager
def vault(scene: Scene, *, root: bool = False) -> Iterator[Backend]:
    """Run OpenBao with a key; the server logs in by AppRole, or has the root's token, which outlives a restart."""
    bao = OpenBao(scene.folder)
    bao.start()
    try:
        bao.make_key("tsa", exportable=True, allow_plaintext_backup=True)
        bao.keep("tsa")
        handle = Vault(bao, scene)
        handle.policy(READ + SIGN)
        bao.call("POST", "sys/auth/approle", {"type": "approle"})
        bao.call("POST", "auth/approle/role/tsa", {"token_policies": ["tsa"], "token_ttl": "1h"})
        handle.new_secret()
        role = bao.call("GET", "auth/approle/role/tsa/role-id")["role_id"]
        token = f'token = "{ROOT_TOKEN}"\n'
        login = f'login = "approle"\nrole_id = "{role}"\nsecret_id_file = "secret-id"\n'
        yield Backend(
            uri="hashivault://tsa",
            settings=f'[signer.hashivault]\naddress = "{bao.address}"\n{token if root else login}',
            public_key=_pem(bao.call("GET", "transit/keys/tsa")["keys"]["1"]["public_key"]),
            handle=handle,
        )
    finally:
        bao.process.stop()


@contextmanager
def lasting_vault(scene: Scene) -> Iterator[Backend]:
    """Run OpenBao with a key and a token that outlive a restart."""
    with vault(scene, root=True) as backend:
        yield backend


def _pem(text: str) -> Any:
    return load_pem_public_key(text.encode())


@contextmanager
def judge(kind: type[KmsJudge], scene: Scene) -> Iterator[Any]:
    """Run a judge; a machine without Go does not."""
    try:
        running = kind(scene.folder)
    except builds.NoToolchain as error:
        builds.not_on_this_machine(str(error))
    with running:
        yield running


@dataclass(frozen=True)
class Kms:
    """A judge and its key."""

    judge: Any
    enable: Callable[[bool], object]


@contextmanager
def aws(scene: Scene) -> Iterator[Backend]:
    """Run local-kms, which lets only requests pass whose signature AWS's own signer makes too."""
    with judge(AwsJudge, scene) as running:
        arn, client = running.make_key(), running.client()
        client.create_alias(AliasName="alias/tsa", TargetKeyId=arn)
        public_key: Any = load_der_public_key(client.get_public_key(KeyId=arn)["PublicKey"])
        yield Backend(
            uri="awskms:///alias/tsa",
            settings="",
            public_key=public_key,
            handle=Kms(running, lambda on: (client.enable_key if on else client.disable_key)(KeyId=arn)),
            environ=running.environment,
        )


@contextmanager
def gcp(scene: Scene) -> Iterator[Backend]:
    """Run Google's service definition for Go, over TLS and with access tokens."""
    with judge(GcpJudge, scene) as running:
        version = f"{running.make_key('tsa')}/cryptoKeyVersions/1"
        yield Backend(
            uri=f"gcpkms://{version.partition('/cryptoKeyVersions')[0]}",
            settings="",
            public_key=_pem(running.client().get_public_key(request={"name": version}).pem),
            handle=Kms(running, lambda on: running.set_state(version, "ENABLED" if on else "DISABLED")),
            environ=running.environment,
        )


@contextmanager
def azure(scene: Scene) -> Iterator[Backend]:
    """Run the stand-in for Key Vault and Entra ID."""
    vault = KeyVault(scene.folder)
    vault.start()
    try:
        key = vault.make_key("tsa")
        yield Backend(
            uri=f"azurekms://{vault.host}/tsa",
            settings="",
            public_key=key.public_key(),
            handle=vault,
            environ=vault.environment,
        )
    finally:
        vault.kill()
