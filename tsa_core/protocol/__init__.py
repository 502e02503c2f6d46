"""RFC 3161 and CMS: bytes in, bytes out.

No clock, no file, no socket, no configuration. The lowest package: it imports no other package of tsa_core.
"""
