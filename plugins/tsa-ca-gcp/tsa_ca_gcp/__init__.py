"""Issues certificates for timestamp authorities by Google Cloud's CA Service."""
