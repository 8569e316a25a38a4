from alembic import context
from shop import config as shop_config
from shop.models import metadata
from sqlalchemy import create_engine

database = shop_config.load()["database"]
engine = create_engine(database["uri"], pool_size=database["pool"])

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
