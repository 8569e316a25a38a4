"""`python -m alembic_job`."""

from alembic_job.main import main

main()
