"""Tables of serving: what should be served, what is, and what must not be unloaded."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Owned


class Deployment(Owned, Base):
    """What should be served under ``{model_name}:{alias}``. Every change raises ``generation``."""

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("model_name", "alias"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    model_name: Mapped[str] = mapped_column(String(200))
    alias: Mapped[str] = mapped_column(String(50))  # base | realtime | optimized | current
    model_version: Mapped[int]
    previous_version: Mapped[int | None]
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class DeploymentStatus(Base):
    """What one server replica reports of one deployment; a replica that stops reporting is not live."""

    __tablename__ = "deployment_statuses"

    replica: Mapped[str] = mapped_column(String(100), primary_key=True)
    deployment_id: Mapped[int] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10))  # loading | ready | failed
    served_version: Mapped[int | None]
    message: Mapped[str] = mapped_column(Text, default="")
    reported_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ServerReplica(Base):
    """The heartbeat of one model server process."""

    __tablename__ = "server_replicas"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ModelLease(Owned, Base):
    """Holds a model version in the servers while a scoring run uses it."""

    __tablename__ = "model_leases"
    __table_args__ = (UniqueConstraint("model_name", "model_version", "holder"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_name: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[int]
    holder: Mapped[str] = mapped_column(String(250))  # the run id
    expires_at: Mapped[datetime]
