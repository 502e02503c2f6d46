"""The commands timestamp-server and timestamp-cli; thin."""
