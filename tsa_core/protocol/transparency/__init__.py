"""Transparency logs as C2SP specifies them: tiles, checkpoints, cosignatures and proofs; bytes in, bytes out."""
