"""Signs timestamps in memory with a Tink keyset that a KMS encrypts at rest."""
