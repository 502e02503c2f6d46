"""timestamp-cli evidence: proof for decades, of one file or a million (RFC 4998)."""
