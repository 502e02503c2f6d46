"""API keys, bearer tokens, tenants and rate limits: a guard for tsa-core."""
