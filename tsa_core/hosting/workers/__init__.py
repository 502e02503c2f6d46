"""Several worker processes on the same listening sockets."""
