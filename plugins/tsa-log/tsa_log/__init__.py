"""A public, witnessed log of every token: C2SP tiles, checkpoints and cosignatures."""
