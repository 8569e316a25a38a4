"""Drop the phone numbers of users.

No release reads or writes them since April. A downgrade brings the column back, not what it held.

Revision ID: f50b9e6132cd
Revises: 27af6d84be13
Create Date: 2025-05-06 15:22:14.093658

"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "f50b9e6132cd"
down_revision: str | Sequence[str] | None = "27af6d84be13"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.drop_column("users", "phone")


def downgrade() -> None:
    op.add_column("users", sa.Column("phone", sa.Text(), nullable=True))
