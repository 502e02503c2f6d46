"""Transparency logs for plugins: what `tsa_core.protocol.transparency` has, bytes in and bytes out.

Not imported with `tsa_core.api` itself, since few plugins need it.
"""

from __future__ import annotations

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import (
    MAX_SIZE,
    Checkpoint,
    Cosignature,
    SignedCheckpoint,
    parse_checkpoint,
    parse_signed_checkpoint,
    read_decimal,
    read_hash,
)
from tsa_core.protocol.transparency.history import encode_minute, minute_path, read_minute
from tsa_core.protocol.transparency.leaf import TimestampEntry, entry_of, read_entry
from tsa_core.protocol.transparency.log_proof import LogProof, parse_log_proof
from tsa_core.protocol.transparency.merkle import (
    EMPTY_ROOT,
    HASH_OCTETS,
    MAX_PATH,
    Frontier,
    consistency_path,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    tree_root,
)
from tsa_core.protocol.transparency.note import (
    MAX_NOTE_OCTETS,
    NoteSignature,
    SignatureType,
    SignedNote,
    VerifierKey,
    parse_note,
    parse_signatures,
    parse_verifier_key,
)
from tsa_core.protocol.transparency.policy import LogPolicy, parse_policy, threshold_policy
from tsa_core.protocol.transparency.signing import NoteSigner
from tsa_core.protocol.transparency.tiles import (
    TILE_WIDTH,
    Tile,
    TileHashes,
    encode_bundle,
    read_bundle,
    tile_at,
    tiles_between,
)

__all__ = [
    "EMPTY_ROOT",
    "HASH_OCTETS",
    "MAX_NOTE_OCTETS",
    "MAX_PATH",
    "MAX_SIZE",
    "TILE_WIDTH",
    "Checkpoint",
    "Cosignature",
    "EncodingError",
    "Frontier",
    "LogPolicy",
    "LogProof",
    "NoteSignature",
    "NoteSigner",
    "SignatureType",
    "SignedCheckpoint",
    "SignedNote",
    "Tile",
    "TileHashes",
    "TimestampEntry",
    "VerifierKey",
    "consistency_path",
    "encode_bundle",
    "encode_minute",
    "entry_of",
    "inclusion_path",
    "is_consistent",
    "leaf_hash",
    "minute_path",
    "node_hash",
    "parse_checkpoint",
    "parse_log_proof",
    "parse_note",
    "parse_policy",
    "parse_signatures",
    "parse_signed_checkpoint",
    "parse_verifier_key",
    "read_bundle",
    "read_decimal",
    "read_entry",
    "read_hash",
    "read_minute",
    "threshold_policy",
    "tile_at",
    "tiles_between",
    "tree_root",
]
