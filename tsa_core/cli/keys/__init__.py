"""timestamp-server keys: what is done to signing keys under witnesses; a plugin adds commands for clients' API keys."""
