"""Signs timestamps by asking a program, as sigstore's KMS plugins are."""
