"""Compares the clock with NTP servers that prove who they are, by NTS (RFC 8915)."""
