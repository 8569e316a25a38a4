"""What the API takes and returns."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.models import OrderStatus

# PostgreSQL stores every character but NUL.
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
Key = Annotated[int, Field(gt=0, lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Price = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]


class _Row(BaseModel):
    """A stored row: read from a model's attributes."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime


class NewUser(BaseModel):
    """A user to be created."""

    email: Email
    name: Line


class UserOut(NewUser, _Row):
    """A user as stored."""


class NewProduct(BaseModel):
    """A product to be created."""

    sku: Line
    name: Line
    price: Price
    quantity: Count = 0


class ProductOut(NewProduct, _Row):
    """A product as stored."""


class NewOrder(BaseModel):
    """An order to be placed: the price comes from the product."""

    user_id: Key
    product_id: Key
    quantity: Annotated[Count, Field(gt=0)] = 1


class OrderOut(NewOrder, _Row):
    """An order as stored."""

    status: OrderStatus
    unit_price: Decimal
