"""Signs with a key in Azure Key Vault or Managed HSM.

Permissions: keys/get and keys/sign, as the role Key Vault Crypto User has them (Managed HSM: Managed HSM Crypto User).
Authentication: a token of Microsoft Entra ID for a service principal, a workload identity, a managed identity or the
Azure CLI's user. What leaves the machine: the token, the key's name, and the digest of the token's signed attributes;
nothing of the document. Every signature costs one HTTP request.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient, KeyVaultKey
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tsa_core.api import (
    ConfigError,
    KeySigner,
    PublicKey,
    SignatureAlgorithm,
    SignerError,
    SignerUnavailable,
    UnsupportedKey,
    describe_key,
    signature_algorithm,
    within_deadline,
)
from tsa_signer_azurekms.connection import SharedCredential, within
from tsa_signer_azurekms.failures import explain, one_line
from tsa_signer_azurekms.options import AzureOptions
from tsa_signer_azurekms.settings import KeyAddress
from tsa_signer_azurekms.vault import open_vault
from tsa_signer_azurekms.vault_keys import check_usable, public_half, read_key

# RFC 7518 3.1; each curve goes with one digest.
_ECDSA: Final = {("secp256r1", "sha256"): "ES256", ("secp384r1", "sha384"): "ES384", ("secp521r1", "sha512"): "ES512"}
_RSA: Final = {"rsa-pkcs1v15": "RS", "rsa-pss": "PS"}


class AzureSigner(KeySigner):
    """Signs with one version of one key, which a rotation leaves in place."""

    def __init__(
        self,
        client: KeyClient,
        credential: SharedCredential,
        *,
        address: KeyAddress,
        public_key: PublicKey,
        algorithm: SignatureAlgorithm,
        attempts: int | None,
        facts: Mapping[str, str],
    ) -> None:
        super().__init__(public_key, algorithm)
        self._client = client
        self._credential = credential
        self._address = address
        self._attempts = attempts
        self._facts = facts
        self._name = _azure_algorithm(public_key, algorithm, address)
        self._path = f"/keys/{address.key}/{address.version}/sign"
        self._answered_by = f"/keys/{address.key}/{address.version}".lower()
        # RFC 7518 3.4: r and s are as long as the curve's order.
        self._half = (public_key.key_size + 7) // 8 if isinstance(public_key, ec.EllipticCurvePublicKey) else 0

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature by the pinned version of the key; an answer of any other key is refused."""
        value = base64.urlsafe_b64encode(self._algorithm.digest.digest(message)).rstrip(b"=").decode("ascii")
        body = {"alg": self._name, "value": value}
        answer = within_deadline(lambda left: self._ask(body, left), timeout=timeout, attempts=self._attempts)
        if not str(answer.get("kid")).lower().endswith(self._answered_by):
            raise SignerError(
                f"{self._address.text} was asked to sign, another key answered: {str(answer.get('kid'))[:200]}"
            )
        try:
            text = str(answer.get("value"))
            signature = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:  # binascii.Error, or of letters that are not ASCII
            raise SignerError(f"{self._address.text}: the signature in the answer is not base64url") from None
        return self._ecdsa_der(signature) if self._half else signature

    def _ask(self, body: Mapping[str, str], seconds: float) -> Mapping[str, Any]:
        key = self._address.text
        try:
            with within(seconds):
                response = self._client.send_request(HttpRequest("POST", self._path, json=body))
                if response.status_code == 401:
                    # Revoked, or of a principal that was changed: the next try begins with a new token.
                    self._credential.forget()
            response.raise_for_status()
            answer = response.json()
        except AzureError as error:
            raise explain(error, "sign", key) from None
        except ValueError as error:
            # An answer that is no JSON comes from something in between, a challenge for another domain from elsewhere.
            raise SignerUnavailable(f"Azure Key Vault, sign {key}: {one_line(error)}") from None
        except Exception as error:
            raise SignerError(f"Azure Key Vault, sign {key}: {type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise SignerUnavailable(f"Azure Key Vault, sign {key}: the answer is not a JSON object")
        return answer

    def _ecdsa_der(self, signature: bytes) -> bytes:
        """Return DER Ecdsa-Sig-Value for the r and s side by side that the vault gives."""
        r, s = (int.from_bytes(part, "big") for part in (signature[: self._half], signature[self._half :]))
        if len(signature) != 2 * self._half or not r or not s:
            raise SignerError(
                f"{self._address.text}: {len(signature)} bytes in the answer are no {self._name} signature"
            )
        return encode_dss_signature(r, s)

    def details(self) -> Mapping[str, str]:
        """Return key, version, algorithm and what ends."""
        return self._facts

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"<AzureSigner {self._address.text}>"


def open_azure_signer(options: AzureOptions) -> AzureSigner:
    """Return the signer for the version in the URI, else for the one that the certificate certifies, else the newest.

    Raises ConfigError for settings and keys that cannot be used, SignerUnavailable when vault or Entra ID cannot be
    reached, SignerError when they refuse.
    """
    vault = open_vault(options)
    address, client = vault.address, vault.client
    try:
        key = read_key(vault, options)
        pinned = KeyAddress(vault_url=address.vault_url, key=address.key, version=str(key.properties.version))
        check_usable(key, pinned)
        public_key = public_half(key, pinned)
        try:
            algorithm = signature_algorithm(public_key, digest=options.signature_digest, pss=options.rsa_pss)
        except UnsupportedKey as error:
            raise ConfigError(f"the key {pinned.text}: {error}") from None
        return AzureSigner(
            client,
            vault.credential,
            address=pinned,
            public_key=public_key,
            algorithm=algorithm,
            attempts=options.attempts,
            facts=_facts(key, pinned, public_key, vault.identity),
        )
    except BaseException:
        client.close()
        raise


def _azure_algorithm(public_key: PublicKey, algorithm: SignatureAlgorithm, address: KeyAddress) -> str:
    """Return the vault's name of the algorithm; raises ConfigError when the vault has none for it."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        name = _ECDSA.get((public_key.curve.name, algorithm.digest.name))
        if name is None:
            raise ConfigError(
                f"Azure Key Vault does not sign with {describe_key(public_key)} and {algorithm.digest.name} "
                f"({address.text}); leave signer_hash out, and the digest follows the key"
            )
        return name
    return f"{_RSA[algorithm.scheme]}{8 * algorithm.digest.digest_size}"


def _facts(key: KeyVaultKey, address: KeyAddress, public_key: PublicKey, identity: str) -> Mapping[str, str]:
    kind = str(getattr(key.key_type, "value", key.key_type))
    facts = {
        "key": f"{address.vault_url}/keys/{address.key}, {describe_key(public_key)} ({kind})",
        "version": str(address.version),
        "credential": identity.replace("_", " "),
    }
    if key.properties.expires_on is not None:
        facts["key expires"] = f"{key.properties.expires_on:%Y-%m-%d %H:%M} UTC"
    return facts
