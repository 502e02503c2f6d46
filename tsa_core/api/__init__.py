"""What a plugin imports, and all that a plugin imports."""

from __future__ import annotations

from pluggy import HookimplMarker

from tsa_core.api.addresses import sends_cleartext
from tsa_core.api.agreement import Agreement, agree
from tsa_core.api.attempts import within_deadline
from tsa_core.api.certificate_authority import CertificateAuthority
from tsa_core.api.clock import (
    Clock,
    ClockAnchor,
    ClockMonitor,
    ClockVerdict,
    LeapWarning,
    TimeReading,
    TimeSourceReport,
)
from tsa_core.api.errors import (
    AuditError,
    CertificateAuthorityError,
    ClockError,
    ConfigError,
    KeyMismatch,
    PluginCrash,
    PluginError,
    RequestRejected,
    SignerError,
    SignerUnavailable,
    TemporaryFailure,
    TsaError,
    UnavailableError,
    UnsupportedKey,
    cannot_listen,
    cannot_write,
)
from tsa_core.api.fields import ConfigPath, Duration, Oid, Secret, TextList, resolve_path
from tsa_core.api.files import key_file, read_file, why_not_writable
from tsa_core.api.guard import Guard, GuardedRequest, GuardRefusal
from tsa_core.api.identity import Identity
from tsa_core.api.installation import install_hint
from tsa_core.api.kek import WRONG_KEK, KeyEncryptionKey, OpenKek
from tsa_core.api.keys import KEY_KINDS, new_key
from tsa_core.api.logs import keep_quiet, one_line
from tsa_core.api.policy import PolicySelector
from tsa_core.api.provider import (
    CertificateAuthorityOptions,
    Command,
    KekOptions,
    NoOptions,
    PluginOptions,
    Provider,
    SignerOptions,
)
from tsa_core.api.record import (
    AuditEvent,
    AuditRecord,
    AuditSink,
    HealthCheck,
    HealthStatus,
    Observer,
    RefusalRecord,
    RequestOutcome,
)
from tsa_core.api.request import ProfileSummary, RequestContext, RequestExtension, TimeStampReq, TokenDraft
from tsa_core.api.response import ResponseProcessor
from tsa_core.api.routes import (
    IMMUTABLE,
    AuthorityAccess,
    ClockReport,
    Countersigner,
    ProfileReport,
    Route,
    RouteReply,
    RouteRequest,
    Routes,
)
from tsa_core.api.signer import KeySigner, LocalKeySigner, Signer
from tsa_core.durable import clear_scratch, open_regular, replace_file, sync_folder
from tsa_core.protocol.retry_after import retry_after
from tsa_core.protocol.signatures import (
    PrivateKey,
    PublicKey,
    SignatureAlgorithm,
    describe_key,
    signature_algorithm,
)
from tsa_core.protocol.status import PKIFailureInfo

PROJECT = "tsa_core"
"""What pluggy calls this project: the name of its hook markers."""

hookimpl = HookimplMarker(PROJECT)
"""Marks a plugin's implementation of one of the hooks in tsa_core.hookspecs."""

__all__ = [
    "IMMUTABLE",
    "KEY_KINDS",
    "PROJECT",
    "WRONG_KEK",
    "Agreement",
    "AuditError",
    "AuditEvent",
    "AuditRecord",
    "AuditSink",
    "AuthorityAccess",
    "CertificateAuthority",
    "CertificateAuthorityError",
    "CertificateAuthorityOptions",
    "Clock",
    "ClockAnchor",
    "ClockError",
    "ClockMonitor",
    "ClockReport",
    "ClockVerdict",
    "Command",
    "ConfigError",
    "ConfigPath",
    "Countersigner",
    "Duration",
    "Guard",
    "GuardRefusal",
    "GuardedRequest",
    "HealthCheck",
    "HealthStatus",
    "Identity",
    "KekOptions",
    "KeyEncryptionKey",
    "KeyMismatch",
    "KeySigner",
    "LeapWarning",
    "LocalKeySigner",
    "NoOptions",
    "Observer",
    "Oid",
    "OpenKek",
    "PKIFailureInfo",
    "PluginCrash",
    "PluginError",
    "PluginOptions",
    "PolicySelector",
    "PrivateKey",
    "ProfileReport",
    "ProfileSummary",
    "Provider",
    "PublicKey",
    "RefusalRecord",
    "RequestContext",
    "RequestExtension",
    "RequestOutcome",
    "RequestRejected",
    "ResponseProcessor",
    "Route",
    "RouteReply",
    "RouteRequest",
    "Routes",
    "Secret",
    "SignatureAlgorithm",
    "Signer",
    "SignerError",
    "SignerOptions",
    "SignerUnavailable",
    "TemporaryFailure",
    "TextList",
    "TimeReading",
    "TimeSourceReport",
    "TimeStampReq",
    "TokenDraft",
    "TsaError",
    "UnavailableError",
    "UnsupportedKey",
    "agree",
    "cannot_listen",
    "cannot_write",
    "clear_scratch",
    "describe_key",
    "hookimpl",
    "install_hint",
    "keep_quiet",
    "key_file",
    "new_key",
    "one_line",
    "open_regular",
    "read_file",
    "replace_file",
    "resolve_path",
    "retry_after",
    "sends_cleartext",
    "signature_algorithm",
    "sync_folder",
    "why_not_writable",
    "within_deadline",
]
