"""Signs timestamps with a key that is in a process of its own, behind a Unix socket."""
