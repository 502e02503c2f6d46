"""Signs timestamps with a key in the transit engine of HashiCorp Vault or OpenBao."""
