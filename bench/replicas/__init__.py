"""Three servers behind a proxy, with one PostgreSQL and one Redis, and what happens when a part of it fails."""
