"""timestamp-cli for many files: imported when `timestamp` or `verify` gets files, or lists of names or of sums."""
