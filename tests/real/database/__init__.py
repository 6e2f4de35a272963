"""The data inside, on real PostgreSQL 17 and 18."""
