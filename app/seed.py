"""Data to start with: `python -m app.seed`. Run it as often as you like; what is there stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import engine
from app.models import Base, Order, OrderStatus, Product, User

USERS = (
    {"email": "ada@example.com", "name": "Ada Lovelace"},
    {"email": "grace@example.com", "name": "Grace Hopper"},
    {"email": "edgar@example.com", "name": "Edgar F. Codd"},
)
PRODUCTS = (
    {"sku": "KETTLE-1", "name": "Copper kettle", "price": Decimal("189.00"), "quantity": 12},
    {"sku": "FLASK-2", "name": "Round flask, 500 ml", "price": Decimal("14.50"), "quantity": 240},
    {"sku": "FUNNEL-1", "name": "Glass funnel", "price": Decimal("7.90"), "quantity": 85},
    {"sku": "BURNER-3", "name": "Spirit burner", "price": Decimal("22.00"), "quantity": 31},
)
ORDERS = (
    ("ada@example.com", "KETTLE-1", 1, OrderStatus.SHIPPED),
    ("ada@example.com", "FLASK-2", 6, OrderStatus.PAID),
    ("grace@example.com", "BURNER-3", 2, OrderStatus.PENDING),
    ("grace@example.com", "FUNNEL-1", 4, OrderStatus.CANCELLED),
)


@dataclass(frozen=True)
class Added:
    """How many rows a run of the seed added; all 0 where everything was there."""

    users: int
    products: int
    orders: int


def seed(session: Session) -> Added:
    """Adds what is missing, by e-mail address and SKU, and the orders of those users who have none. Does not commit."""
    users = _add_missing(session, User, USERS, "email")
    products = _add_missing(session, Product, PRODUCTS, "sku")
    return Added(users, products, _add_orders(session))


def main() -> None:
    """Seeds the database of DATABASE_URL in one transaction: all of it or nothing."""
    with Session(engine()) as session, session.begin():
        added = seed(session)
    print(f"seeded: {added.users} users, {added.products} products, {added.orders} orders added")


def _add_missing(session: Session, model: type[Base], rows: Sequence[dict[str, Any]], key: str) -> int:
    # ON CONFLICT also waits for another seed that is just adding the same rows.
    statement = insert(model).values(list(rows)).on_conflict_do_nothing(index_elements=[key]).returning(model.id)
    return len(session.scalars(statement).all())


def _add_orders(session: Session) -> int:
    users = _users_without_orders(session, {email for email, *_ in ORDERS})
    ordered = select(Product).where(Product.sku.in_({sku for _, sku, *_ in ORDERS}))
    products = {product.sku: product for product in session.scalars(ordered)}
    orders = [
        Order(
            user=users[email], product=products[sku], quantity=quantity, status=status, unit_price=products[sku].price
        )
        for email, sku, quantity, status in ORDERS
        if email in users
    ]
    session.add_all(orders)
    session.flush()
    return len(orders)


def _users_without_orders(session: Session, emails: set[str]) -> dict[str, User]:
    # Locked first and looked at in a second statement, which sees what another seed committed meanwhile.
    users = session.scalars(select(User).where(User.email.in_(emails)).order_by(User.id).with_for_update()).all()
    served = set(session.scalars(select(Order.user_id).where(Order.user_id.in_([user.id for user in users]))))
    return {user.email: user for user in users if user.id not in served}


if __name__ == "__main__":
    main()
