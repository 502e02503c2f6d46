"""Faults of waiting: disks, locks, pipes, signers and other plugins that hang."""
