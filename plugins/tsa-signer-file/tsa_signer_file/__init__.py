"""Signs timestamps with a private key that stands in a file."""
