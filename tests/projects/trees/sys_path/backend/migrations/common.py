import sqlalchemy as sa


def stamp_columns() -> list[sa.Column]:
    return [sa.Column("created", sa.DateTime()), sa.Column("changed", sa.DateTime())]
