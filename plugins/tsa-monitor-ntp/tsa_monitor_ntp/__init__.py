"""Compares the clock with NTP servers."""
