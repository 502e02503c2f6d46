"""An audit trail in files: one line of JSON for each token, chained by hashes."""
