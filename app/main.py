"""The shop's API. `uvicorn app.main:app` serves it; the schema comes from the migrations, never from here."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import open_session
from app.models import Base, Order, Product, User
from app.schemas import NewOrder, NewProduct, NewUser, OrderOut, ProductOut, UserOut

app = FastAPI(title="Shop")

Db = Annotated[Session, Depends(open_session)]
Limit = Annotated[int, Query(ge=1, le=500)]
UserId = Annotated[int, Path(gt=0, lt=2**63)]
Row = TypeVar("Row", bound=Base)


@app.exception_handler(IntegrityError)
def conflict(_: Request, error: IntegrityError) -> JSONResponse:
    """409 for whatever a constraint of the database refuses, by the constraint's name."""
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return JSONResponse({"detail": f"conflict: {constraint}"}, status_code=409)


@app.get("/healthz")
def healthz(db: Db) -> dict[str, str]:
    """Ready as long as the database answers."""
    try:
        db.execute(select(1))
    except SQLAlchemyError as error:
        raise HTTPException(503, "the database does not answer") from error
    return {"status": "ok"}


@app.post("/users", status_code=201, response_model=UserOut)
def create_user(new: NewUser, db: Db) -> User:
    """Adds a user; 409 if the address is taken."""
    return _store(db, User(**new.model_dump()))


@app.get("/users", response_model=list[UserOut])
def list_users(db: Db, limit: Limit = 50) -> Sequence[User]:
    """The first users."""
    return db.scalars(select(User).order_by(User.id).limit(limit)).all()


@app.get("/users/{user_id}/orders", response_model=list[OrderOut])
def list_orders_of_user(user_id: UserId, db: Db, limit: Limit = 50) -> Sequence[Order]:
    """A user's orders, newest first."""
    newest = select(Order).where(Order.user_id == user_id).order_by(Order.created_at.desc(), Order.id.desc())
    return db.scalars(newest.limit(limit)).all()


@app.delete("/users/{user_id}", status_code=204)
def delete_user(user_id: UserId, db: Db) -> None:
    """Removes a user and, by the foreign key's ON DELETE CASCADE, their orders."""
    db.delete(_found(db, User, user_id))
    db.commit()


@app.post("/products", status_code=201, response_model=ProductOut)
def create_product(new: NewProduct, db: Db) -> Product:
    """Adds a product; 409 if the SKU is taken."""
    return _store(db, Product(**new.model_dump()))


@app.get("/products", response_model=list[ProductOut])
def list_products(db: Db, limit: Limit = 50) -> Sequence[Product]:
    """The first products."""
    return db.scalars(select(Product).order_by(Product.id).limit(limit)).all()


@app.post("/orders", status_code=201, response_model=OrderOut)
def create_order(new: NewOrder, db: Db) -> Order:
    """Places an order at the product's price of now and takes it from the stock; 409 if that does not suffice."""
    _found(db, User, new.user_id)
    product = _found(db, Product, new.product_id, lock=True)
    if product.quantity < new.quantity:
        raise HTTPException(409, f"only {product.quantity} in stock")
    product.quantity -= new.quantity
    return _store(db, Order(**new.model_dump(), unit_price=product.price))


@app.get("/orders", response_model=list[OrderOut])
def list_orders(db: Db, limit: Limit = 50) -> Sequence[Order]:
    """The first orders."""
    return db.scalars(select(Order).order_by(Order.id).limit(limit)).all()


def _store(db: Session, row: Row) -> Row:
    """Committed here, not when the session closes: that is after the answer has gone out."""
    db.add(row)
    db.commit()
    return row


def _found(db: Session, model: type[Row], key: int, *, lock: bool = False) -> Row:
    row = db.get(model, key, with_for_update=lock)
    if row is None:
        raise HTTPException(404, f"no such {model.__name__.lower()}")
    return row
