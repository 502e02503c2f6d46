"""Signs timestamps with a key in AWS KMS."""
