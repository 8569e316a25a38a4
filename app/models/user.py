"""Customers."""

from typing import TYPE_CHECKING

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base

if TYPE_CHECKING:
    from app.models.order import Order


class User(Base):
    """Somebody who can order; deleting one deletes their orders."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)

    # passive_deletes: the foreign key's ON DELETE CASCADE does it, without loading the orders first.
    orders: Mapped[list["Order"]] = relationship(back_populates="user", cascade="all, delete", passive_deletes=True)
