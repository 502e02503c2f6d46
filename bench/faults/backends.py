"""Faults of backends: Vault, AWS, Google, Azure."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from bench.faults.backend_scene import READ, SIGN, Kms, Opened, aws, azure, gcp, lasting_vault, vault
from bench.faults.fault import Act, Seen, fault
from bench.faults.scene import Scene, WatchedServer, took
from tsa_backends.key_vault import CLIENT_SECRET, KeyVault
from tsa_backends.openbao import OpenBao

_NAMES = (
    (r"arn:aws:kms:[\w-]+:\d+:key/[\w-]+", "KEY"),
    (r"projects/p/locations/[\w-]+/keyRings/r/cryptoKeys/tsa(/cryptoKeyVersions/\d+)?", "KEY"),
    (r" on resource \(or it may not exist\)\.", ""),
    (r"https?://127\.0\.0\.1:\d+/(v1|keys)", r".../\1"),
    (r" Expected OAuth 2 access token, .* credential\.", ""),
    (r"\b0{31}(\d)\b", r"VERSION\1"),
    (r"arn:aws:iam::\d+:user/tsa", "ARN"),
    (r" Reduce the frequency of your calls\.", ""),
    (r" of service 'cloudkms.googleapis.com'", ""),
    (r" included in the request", ""),
    (r"is now earlier than \d+T\d+Z ", "is now earlier than ... "),
    (r" Request was not processed because too many requests were received\.", ""),
)
"""What is long in log lines, and says nothing on the page."""


def refused(opened: Opened, fail: Callable[[Any], object], mend: Callable[[Any], object], log: str, after: str) -> Act:
    """Return a fault during which clients are refused; the log's line must match, and ends with what to do."""

    def act(scene: Scene) -> Seen:
        with opened(scene) as backend, backend.serve(scene) as server:
            fail(backend.handle)
            client = server.refusal()
            line, readyz = logged(server, log), server.readyz()
            mend(backend.handle)
            return Seen(client=client, log=line, readyz=readyz, healed=f"{server.healed()} after {after}")

    return act


def logged(server: WatchedServer, pattern: str) -> str:
    """Wait for a line of the log that matches, and return the first that does, shortened."""
    server.wait_for_log(pattern)
    line = next(line for line in server.log.splitlines() if re.search(pattern, line))
    for name, short in _NAMES:
        line = re.sub(name, short, line)
    return server.plain(line)


# -- Vault, by OpenBao ------------------------------------------------------------------------------------------------


@fault("vault-quota", "Vault allows 5 signatures a second; 30 clients ask at once; `signer_timeout` is 10 s")
def vault_quota(scene: Scene) -> Seen:
    """All get their tokens, as fast as the quota allows."""
    with vault(scene) as backend, backend.serve(scene, timeout="10s") as server:
        bao: OpenBao = backend.handle.bao
        bao.call("POST", "sys/quotas/rate-limit/sign", {"path": "transit", "rate": 5, "interval": "1s"})
        started = monotonic()
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda _: server.ask(), range(30)))
        spent = monotonic() - started
        assert all(answer.granted for answer in answers), {answer.words for answer in answers}
        line = logged(server, r"info.*try \d+ worked; the one before failed: .*rate limit quota exceeded")
        return Seen(client=f"30 tokens, the last after {took(spent)}", log=line, healed="nothing was to be healed")


fault("vault-killed", "Vault is killed, and started again")(
    refused(
        lasting_vault,
        lambda handle: handle.bao.process.kill(),
        lambda handle: handle.bao.start(),
        r"error.*SignerUnavailable.*cannot be reached.*\[plugin hashivault",
        "Vault was there again",
    )
)
fault("vault-frozen", "Vault takes requests and does not answer (SIGSTOP)")(
    refused(
        lasting_vault,
        lambda handle: handle.bao.process.signal(signal.SIGSTOP),
        lambda handle: handle.bao.process.signal(signal.SIGCONT),
        r"error.*SignerUnavailable.*cannot be reached.*\[plugin hashivault",
        "Vault went on",
    )
)


@fault("vault-token-revoked", "The token that the signer got by AppRole is revoked")
def vault_token(scene: Scene) -> Seen:
    """The signer logs in again within the request."""
    with vault(scene) as backend, backend.serve(scene) as server:
        before = server.log.count("logged in by approle")
        backend.handle.revoke()
        answer = server.ask()
        assert answer.granted, answer.words
        assert server.log.count("logged in by approle") == before + 1
        return Seen(client="a token", log=logged(server, "logged in by approle"), healed="by the request that found it")


fault(
    "vault-secret-withdrawn",
    "The AppRole's `secret_id` is withdrawn and its token revoked; a new one is put into the file",
)(
    refused(
        vault,
        lambda handle: handle.withdraw(),
        lambda handle: handle.new_secret(),
        r"error.*SignerError.*the login was refused: .*are role_id and secret_id right.*\[plugin hashivault",
        "a new one was in the file",
    )
)
fault("vault-policy", "The policy loses the path that signs")(
    refused(
        vault,
        lambda handle: handle.policy(READ),
        lambda handle: handle.policy(READ + SIGN),
        r'error.*SignerError.*its policy lacks: path "transit/sign/tsa/sha2-256".*\[plugin hashivault',
        "it was given back",
    )
)


@fault("vault-rotated", "The key is rotated; the server is restarted with the chain that it had")
def vault_rotated(scene: Scene) -> Seen:
    """The version that the certificate certifies signs."""
    with vault(scene) as backend:
        with backend.serve(scene) as server:
            backend.handle.bao.call("POST", "transit/keys/tsa/rotate", {})
            assert server.grants()
        done = scene.run("check", "--config", scene.folder / "tsa.toml")
        (version,) = re.findall(r"^default\s+version\s+(\d+)", done.output, re.MULTILINE)
        assert (done.code, version) == (0, "1"), done.output
        with backend.serve(scene):
            return Seen(client="a token", also="`check`: version 1 of the key", healed="nothing was to be healed")


# -- AWS and Google, by other people's parts --------------------------------------------------------------------------


_CREDENTIALS = r"have the credentials ended or been withdrawn, and is this machine's clock right"
_JUDGED: Mapping[str, tuple[str, Mapping[str, Any] | None, str, str, str]] = {
    "permission": (
        "The policy does not allow the signature",
        {"denied": ["Sign", "AsymmetricSign"]},
        "AccessDeniedException.*needs the IAM action kms:Sign",
        "PermissionDenied.*needs cloudkms.cryptoKeyVersions.useToSign",
        "it did again",
    ),
    "disabled": (
        "The key is disabled",
        None,
        "DisabledException.*aws kms enable-key",
        "FailedPrecondition.*gcloud kms keys versions enable",
        "it was enabled",
    ),
    "throttled": (
        "The account's quota is used up",
        {"rate": 0.001},
        "ThrottlingException.*raise it, or spread the load",
        "ResourceExhausted.*raise it, or spread the load",
        "there was quota again",
    ),
    "expired": (
        "The credentials have ended",
        {"expired": True},
        "ExpiredTokenException.*give new ones",
        rf"ACCESS_TOKEN_EXPIRED.*{_CREDENTIALS}",
        "they were good again",
    ),
    "clock": (
        "The machine's clock is two hours behind the service's",
        {"skew_seconds": 7200},
        "Signature expired.*is this machine's clock right",
        rf"ACCESS_TOKEN_EXPIRED.*{_CREDENTIALS}",
        "it was right",
    ),
}


def _judged(opened: Opened, faults: Mapping[str, Any] | None, log: str, after: str) -> Act:
    def fail(handle: Kms) -> None:
        if faults is None:
            handle.enable(False)
        else:
            handle.judge.judge(**faults)

    def mend(handle: Kms) -> None:
        handle.judge.judge()
        if faults is None:
            handle.enable(True)

    plugin = "awskms" if opened is aws else "gcpkms"
    return refused(opened, fail, mend, rf"error.*{log}.*\[plugin {plugin}", after)


for _name, (_done, _faults, _of_aws, _of_google, _after) in _JUDGED.items():
    fault(f"aws-{_name}", f"AWS KMS: {_done[0].lower()}{_done[1:]}")(_judged(aws, _faults, _of_aws, _after))
for _name, (_done, _faults, _of_aws, _of_google, _after) in _JUDGED.items():
    fault(f"gcp-{_name}", f"Google KMS: {_done[0].lower()}{_done[1:]}")(_judged(gcp, _faults, _of_google, _after))


@fault("aws-alias", "AWS KMS: the alias moves to another key; the server is restarted with the chain that it had")
def aws_alias(scene: Scene) -> Seen:
    """The running server keeps its key; a new one refuses to start, and says which key it found."""
    with aws(scene) as backend:
        with backend.serve(scene) as server:
            moved = {"AliasName": "alias/tsa", "TargetKeyId": backend.handle.judge.make_key()}
            backend.handle.judge.client().update_alias(**moved)
            assert server.grants()
        config = scene.folder / "tsa.toml"
        done = scene.run("serve", "--config", config, "--port", "0", environ=backend.environ)
        assert done.code == 2, done.output
        line = done.output.strip().splitlines()[-1]
        assert "is not the one that the certificate certifies; give the ARN" in line, line
        for name, short in _NAMES:
            line = re.sub(name, short, line)
        client = "tokens until the restart, then no server"
        return Seen(client=client, also=f"exit code 2, {scene.plain(line)}", healed="with the ARN in the key URI")


# -- Azure, by the tests' stand-in ------------------------------------------------------------------------------------


def _throttle(vault: KeyVault) -> None:
    vault.fault = lambda _: (429, "Throttled", "Request was not processed because too many requests were received.", {})


def _refuse_principal(vault: KeyVault) -> None:
    vault.token_fault = 400
    vault.revoke_tokens()


fault("azure-throttled", "Azure Key Vault: the vault's limit is reached")(
    refused(
        azure,
        _throttle,
        lambda vault: setattr(vault, "fault", None),
        r"error.*SignerUnavailable.*HTTP 429.*spread the load.*\[plugin azurekms",
        "there was room again",
    )
)
fault("azure-disabled", "Azure Key Vault: the key's version is disabled")(
    refused(
        azure,
        lambda vault: setattr(vault.keys["tsa"][f"{1:032x}"], "enabled", False),
        lambda vault: setattr(vault.keys["tsa"][f"{1:032x}"], "enabled", True),
        r"error.*SignerError.*KeyDisabled.*enable the key's version.*\[plugin azurekms",
        "it was enabled",
    )
)
fault("azure-principal", "Azure Key Vault: Entra ID refuses the service principal, and its token is revoked")(
    refused(
        azure,
        _refuse_principal,
        lambda vault: setattr(vault, "token_fault", None),
        r"error.*SignerError.*no access token.*is the credential right and in force.*\[plugin azurekms",
        "it was accepted again",
    )
)


@fault("azure-rotated", "Azure Key Vault: the key is rotated; the server, which may not list versions, is restarted")
def azure_rotated(scene: Scene) -> Seen:
    """A start says what it would need to find the version that the certificate certifies."""
    with azure(scene) as backend:
        with backend.serve(scene) as server:
            backend.handle.make_key("tsa", fresh=True)
            assert server.grants()
        config = scene.folder / "tsa.toml"
        done = scene.run("serve", "--config", config, "--port", "0", environ=backend.environ)
        assert done.code == 2, done.output
        line = done.output.strip().splitlines()[-1]
        assert "name the version in the key URI, or: " in line, line
        assert CLIENT_SECRET not in done.output
        backend.handle.permissions.add("list")
        with backend.serve(scene):
            client = "tokens until the restart, then no server"
            also = f"exit code 2, {scene.plain(line)}"
            return Seen(client=client, also=also, healed="with the version in the key URI, or the permission")
