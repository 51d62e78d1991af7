"""The declarative base and the columns every table shares."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, MetaData, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Named constraints, so that migrations can alter them and errors can be told apart by name.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Json = dict[str, Any]


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        Json: JSON().with_variant(JSONB(), "postgresql"),
    }


class Owned:
    """Every row says whose it is (a user name, or ``service:learnloop``) and since when (database clock)."""

    owner: Mapped[str] = mapped_column(String(250))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


__all__ = ["Base", "Json", "Mapped", "Owned"]
