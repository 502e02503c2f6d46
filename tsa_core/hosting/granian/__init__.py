"""granian, embedded for TLS, HTTP/2, and plain HTTP when the settings choose it."""
