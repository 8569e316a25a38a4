"""What the job costs beside bare Alembic: `python -m bench`."""
