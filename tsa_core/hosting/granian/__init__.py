"""granian, embedded for TLS and HTTP/2, or as the server of plain HTTP behind a proxy."""
