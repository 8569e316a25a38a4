"""Who bought how much of what, and how far it got."""

from decimal import Decimal
from enum import StrEnum

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, Integer, Numeric
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base
from app.models.product import Product
from app.models.user import User


class OrderStatus(StrEnum):
    """The stages of an order, in the order in which the database sorts them."""

    PENDING = "pending"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


def _values(members: type[OrderStatus]) -> list[str]:
    return [member.value for member in members]


class Order(Base):
    """One product, bought by one user at the price of that day."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        Index(None, "user_id", "created_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id))
    quantity: Mapped[int] = mapped_column(Integer)
    status: Mapped[OrderStatus] = mapped_column(
        Enum(OrderStatus, name="order_status", values_callable=_values), server_default=OrderStatus.PENDING.value
    )
    unit_price: Mapped[Decimal] = mapped_column(Numeric(10, 2))

    user: Mapped[User] = relationship(back_populates="orders")
    product: Mapped[Product] = relationship()
