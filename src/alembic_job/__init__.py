"""Run any Alembic project's migrations at deploy time, safely."""

__version__ = "0.1.0"
