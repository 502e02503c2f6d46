"""timestamp-server audit: what is done with the trails that audit sinks keep."""
