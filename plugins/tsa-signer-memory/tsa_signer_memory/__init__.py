"""A key and chain made at start: the signer for trying out tsa-core."""
