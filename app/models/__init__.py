"""Every model, so that importing this package fills `Base.metadata`: a new module must be named here."""

from app.models.base import Base
from app.models.order import Order, OrderStatus
from app.models.product import Product
from app.models.user import User

__all__ = ["Base", "Order", "OrderStatus", "Product", "User"]
