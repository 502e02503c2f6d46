"""Certificate paths by RFC 5280: validation (6.1) and revocation (6.3), on certificates alone.

Nothing here knows timestamps. `tsa_core.verify` adds what RFC 3161 demands of a signer, and publishes what
programs need of this room.
"""
