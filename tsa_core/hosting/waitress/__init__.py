"""waitress, set up for a public timestamp server."""
