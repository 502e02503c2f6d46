"""The plugins of the core itself, which use the same hooks as any other."""
