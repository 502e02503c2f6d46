"""The kinds of events that the core writes into the trail, beside those of `segment` about the trail itself."""

from __future__ import annotations

from typing import Final

STARTED: Final = "service.started"
"""A process serves from now on: `pid`, `version`, `host`. That it ended, the sink's own line `close` says."""
RELOADED: Final = "service.reloaded"
"""A reload has replaced the configuration of a process: `pid`, `version`."""
READINESS: Final = "service.readiness"
"""Other things than before stop tokens, or nothing does any more: `pid`, `ready`, `unready_since`, `causes`."""
CERTIFICATE: Final = "profile.certificate"
"""A profile's certificate from now on: `pid`, `profile`, `certificate_sha256`, `certificate_serial_number`,
`key_sha256`, `not_after`, and the same with `previous_` for the one before. At a start there is none before."""
CLOCK_STATE: Final = "clock.state"
"""The clock gate's state: `pid`, `state`, `previous`, `issuing`, `reason`, and others where they are known."""
CLOCK_STEP: Final = "clock.step"
"""The clock was set by a second or more, or the machine slept: `pid`, `seconds`."""
CEREMONY: Final = "key.ceremony"
"""A key was made or is taken into use: `protocol_sha256`, `key_sha256`, and who was there."""
DESTROYED: Final = "key.destroyed"
"""A key was destroyed: `protocol_sha256`, `key_sha256`, and who was there."""
