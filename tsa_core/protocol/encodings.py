"""cryptography's names of encodings, without what stands beside them in its public module.

`cryptography.hazmat.primitives.serialization` also imports ciphers and the formats of SSH, which takes 5 ms, and which
neither verifying a token nor starting a server needs. No public module has the names without that (cryptography 50).
The core takes them from here; a plugin takes the public module.
"""

from __future__ import annotations

try:
    from cryptography.hazmat.primitives._serialization import Encoding, PublicFormat
except ImportError:  # a later release may have moved them
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["Encoding", "PublicFormat"]
