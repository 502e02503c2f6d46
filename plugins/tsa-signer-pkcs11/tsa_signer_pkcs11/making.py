"""Makes a key pair in a token, whose private half is sensitive and cannot be extracted."""

from __future__ import annotations

import os
import time
from typing import Final

from pkcs11 import Attribute, KeyType
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import Session
from pkcs11.util.ec import encode_named_curve_parameters

from tsa_core.api import ConfigError, SignerError
from tsa_signer_pkcs11.keys import KeyNotFoundError, find_private_key, find_token
from tsa_signer_pkcs11.module import Module, PinRefusedError, error_name
from tsa_signer_pkcs11.options import Pkcs11Options
from tsa_signer_pkcs11.signer import module_path, pin_of
from tsa_signer_pkcs11.uri import KeyUri, read_key_uri

_SECONDS: Final = 300.0
"""A smart card takes minutes for a long RSA key."""
_CURVES: Final = {"ecdsa-p256": "secp256r1", "ecdsa-p384": "secp384r1", "ecdsa-p521": "secp521r1"}
_BITS: Final = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
_PRIVATE: Final = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


def make_key(options: Pkcs11Options, kind: str) -> str:
    """Make a key pair with the label, and the id if there is one, of the URI; return the URI.

    Raises ConfigError for a kind that this module does not make, a URI without `object=` and a key that is there,
    SignerError when the token refuses.
    """
    if kind not in _CURVES and kind not in _BITS:
        raise ConfigError(f"keys of the kind {kind} are not made here; choose among {', '.join([*_CURVES, *_BITS])}")
    uri = read_key_uri(options.uri)
    if uri.object is None:
        raise ConfigError("the key URI names no object=LABEL, which the new key is to have")
    pin = pin_of(options, uri)
    module = Module.acquire(module_path(options, uri))
    deadline = time.monotonic() + _SECONDS
    try:
        with module.call(deadline):
            reading = module.open_session(lambda lib: find_token(lib, uri), pin, deadline)
            with reading, reading.token.open(rw=True) as session:
                _refuse_taken(session, uri)
                _generate(session, uri, kind)
    except PinRefusedError as error:
        raise ConfigError(str(error), path="signer.pkcs11.pin") from None
    except PKCS11Error as error:
        raise SignerError(f"the token does not make a key of the kind {kind}: {error_name(error)}") from None
    finally:
        module.release()
    return options.uri


def _refuse_taken(session: Session, uri: KeyUri) -> None:
    try:
        find_private_key(session, uri)
    except KeyNotFoundError:
        return
    raise ConfigError(f"a private key with {uri.key_text} is there already; name a new one")


def _generate(session: Session, uri: KeyUri, kind: str) -> None:
    identity = uri.id or os.urandom(16)
    if kind in _BITS:
        session.generate_keypair(
            KeyType.RSA, _BITS[kind], id=identity, label=uri.object, store=True, private_template=_PRIVATE
        )
        return
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[kind])}
    domain = session.create_domain_parameters(KeyType.EC, parameters, local=True)
    domain.generate_keypair(id=identity, label=uri.object, store=True, private_template=_PRIVATE)
