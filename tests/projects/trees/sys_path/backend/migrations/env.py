import os
import sys

sys.path.insert(0, os.path.join(os.getcwd(), "backend"))
sys.path = ["."] + sys.path

import model
import settings
from alembic import context
from shop import db
from sqlalchemy import create_engine

with create_engine(db.url(), echo=settings.ECHO).connect() as connection:
    context.configure(connection=connection, target_metadata=model.metadata)
    with context.begin_transaction():
        context.run_migrations()
