"""The data inside PostgreSQL: roles, schemas and grants of each shard, and the migrations that fill it."""
