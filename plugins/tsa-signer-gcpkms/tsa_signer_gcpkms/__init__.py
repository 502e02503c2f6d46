"""Signs timestamps with a key in Google Cloud KMS."""
