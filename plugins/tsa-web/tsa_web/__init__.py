"""A page that timestamps and checks files in the browser, for tsa-core."""
