"""Runs the application: listening sockets, processes, reloads, and the HTTP servers waitress and granian."""
