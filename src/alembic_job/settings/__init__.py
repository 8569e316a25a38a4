"""Settings: the table of all of them, their values as people write them, where each came from."""

from alembic_job.settings.load import EMBEDDED, Settings
from alembic_job.settings.table import SETTINGS, Setting

__all__ = ["EMBEDDED", "SETTINGS", "Setting", "Settings"]
