"""What the job costs beside bare Alembic: `python -m bench`; what waiting pods cost: `python -m bench.waiting`."""
