"""Signs timestamps with a key that a PKCS#11 token holds."""
