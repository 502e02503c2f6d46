"""What `timestamp-server check` opens instead of the sink: reads the trail's end, and changes nothing on the disk."""

from __future__ import annotations

import errno
import os

from tsa_audit_file.ends import read_end, read_first
from tsa_audit_file.options import AuditFileOptions
from tsa_audit_file.tampering import read_fault
from tsa_core.api import AuditError, AuditRecord, AuditSink, ConfigError, HealthStatus, open_regular, why_not_writable
from tsa_core.api.trail import BrokenChainError, begin_hash


def remedy(error: BaseException | None = None) -> str:
    """Return what to do when the file cannot be written to."""
    if isinstance(error, OSError) and error.errno in {errno.EINVAL, errno.EISDIR, errno.ENXIO}:
        return "name a file that the server may write to"
    return "make its directory and give the server's user write access"


class AuditFileTrial(AuditSink):
    """Tells whether records could be stored; stores none."""

    keeps_events = True

    def __init__(self, options: AuditFileOptions) -> None:
        self._path = options.path

    def write(self, record: AuditRecord) -> None:
        """Refuse: a check issues no token."""
        raise AuditError(f"the audit file was opened for a check: {record.request_id}")

    def health(self) -> HealthStatus:
        """Say what a server would say that has just started."""
        if read_fault(self._path) is not None:
            reason = "the audit trail is not as it was left, and nobody has accepted it; see the log"
            return HealthStatus(healthy=False, reason=reason)
        return HealthStatus(healthy=True)


def try_sink(options: AuditFileOptions, key: bytes | None) -> AuditFileTrial:
    """Look whether a server could continue the file, or begin it; raises ConfigError when it could not."""
    reason = why_not_writable(options.path.parent)
    try:
        descriptor = open_regular(options.path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"{error.strerror or error}; {remedy(error)}", path="audit.auditfile.path") from None
    else:
        try:
            _check_end(descriptor, options, key)
            reason = reason if os.access(options.path, os.W_OK) else "it may not be written to"
        except BrokenChainError as error:
            raise ConfigError(str(error), path="audit.auditfile.path") from None
        finally:
            os.close(descriptor)
    if reason:
        raise ConfigError(f"{reason}; {remedy()}", path="audit.auditfile.path")
    return AuditFileTrial(options)


def _check_end(descriptor: int, options: AuditFileOptions, key: bytes | None) -> None:
    """Raise BrokenChainError for a file that a server would not continue. It may write meanwhile."""
    size = os.fstat(descriptor).st_size
    if b"\n" not in os.pread(descriptor, 65_536, 0):
        return  # empty, or its first line is torn: it would be begun anew
    begun = begin_hash(key)
    first = read_first(descriptor, options.path, begun, keyed=key is not None)
    read_end(descriptor, size, options.path, first, begun)
