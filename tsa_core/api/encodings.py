"""cryptography's `Encoding` and `PublicFormat`, without the ciphers and SSH that its public module imports too.

For plugins that are imported at start: that saves them 5 ms.
"""

from tsa_core.protocol.encodings import Encoding, PublicFormat

__all__ = ["Encoding", "PublicFormat"]
