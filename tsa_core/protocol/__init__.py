"""RFC 3161 and CMS: bytes in, bytes out.

No clock, no file, no socket, no configuration. The bottom room of the house: it imports nothing of ours.
"""
