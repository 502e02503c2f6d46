"""Private keys, from settings and files."""

from __future__ import annotations

from tsa_core.api import ConfigError, Secret
from tsa_core.api.transparency import EncodingError, NoteSigner, SignatureType
from tsa_log.options import LogOptions


def signers_of(options: LogOptions) -> list[NoteSigner]:
    """Return the log's keys; none for a log that an engine signs. Raises ConfigError for what is not the log's key."""
    wanted = [("key", options.key, SignatureType.ED25519)] if options.key is not None else []
    if options.post_quantum_key is not None:
        wanted.append(("post_quantum_key", options.post_quantum_key, SignatureType.COSIGNATURE_ML_DSA_44))
    return [signer_of(secret, f"audit.tokenlog.{name}", kind, options.origin) for name, secret, kind in wanted]


def signer_of(secret: Secret, path: str, kind: SignatureType, name: str | None) -> NoteSigner:
    """Return a key from its setting; raises ConfigError, which never repeats the key."""
    try:
        signer = NoteSigner.parse(secret.get_secret_value())
    except EncodingError as error:
        raise ConfigError(str(error), path=path) from None
    if signer.key.kind is not kind:
        raise ConfigError(f"the key is of the kind {signer.key.kind.name}, not {kind.name}", path=path)
    if name is not None and signer.key.name != name:
        raise ConfigError(
            f"the key's name is {signer.key.name}, and the origin is {name}; they must be the same", path=path
        )
    return signer


def cosigner(text: str, path: str) -> NoteSigner:
    """Return the key of a witness or a mirror, which signs with its time; raises ConfigError."""
    try:
        signer = NoteSigner.parse(text.strip())
    except EncodingError as error:
        raise ConfigError(str(error), path=path) from None
    if signer.key.kind not in {SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_ML_DSA_44}:
        raise ConfigError("the key is a log's; `timestamp-server witness keygen` makes one", path=path)
    return signer
