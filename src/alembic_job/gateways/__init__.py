"""The doors to the world outside: PostgreSQL, the Alembic project, pg_dump, embedded servers."""
