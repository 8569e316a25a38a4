import os

import sqlalchemy as sa

metadata = sa.MetaData()
settings_table = sa.Table("settings", metadata, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text))


def create_app() -> sa.Engine:
    engine = sa.create_engine(os.environ["DATABASE_URL"])
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO settings VALUES ('seeded', 'yes') ON CONFLICT DO NOTHING"))
        connection.execute(sa.text("UPDATE settings SET value = 'again' WHERE key = 'seeded'"))
    return engine
