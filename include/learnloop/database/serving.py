"""Tables of serving: what should be served, what is, and what must not be unloaded."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Json, Owned


class Deployment(Owned, Base):
    """What should be served under ``{model_name}:{alias}``. Every change raises ``generation``."""

    __tablename__ = "deployments"
    __table_args__ = (
        UniqueConstraint("model_name", "alias"),
        CheckConstraint("canary_percent BETWEEN 0 AND 99", name="canary_percent"),
        CheckConstraint("(canary_version IS NULL) = (canary_percent = 0)", name="canary"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    model_name: Mapped[str] = mapped_column(String(200))
    alias: Mapped[str] = mapped_column(String(50))  # base | realtime | optimized | current
    model_version: Mapped[int]
    previous_version: Mapped[int | None]
    # Another version that answers this share of the alias's requests, to be looked at before it answers all.
    canary_version: Mapped[int | None]
    canary_percent: Mapped[int] = mapped_column(default=0, server_default="0")
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class CanaryWatch(Base):
    """By which rules a deployment's canary is judged, and what was counted when it was last looked at.

    It is of one pair of versions: where the deployment has others by now, it says nothing.
    """

    __tablename__ = "canary_watches"

    deployment_id: Mapped[int] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True)
    model_version: Mapped[int]
    canary_version: Mapped[int]
    # Fields of `learnloop.serving.cluster.judging.Rules`; none: a person opened it, and says when it ends if it is good.
    rules: Mapped[Json]
    # By track: `learnloop.serving.cluster.judging.Watched.stored`.
    seen: Mapped[Json]


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


class LiveWindow(Base):
    """What the live requests that one model version answered in one hour were like: counts, and no request."""

    __tablename__ = "live_windows"
    __table_args__ = (UniqueConstraint("model_name", "model_version", "started_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    model_name: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[int]
    started_at: Mapped[datetime]
    rows: Mapped[int]
    # {"confidence": [10], "predicted": [classes], "inputs": [features][bins]}
    counts: Mapped[Json]


class LiveSample(Base):
    """A sample of a live request that the model was not sure of, until it is in a batch that people are asked about."""

    __tablename__ = "live_samples"
    __table_args__ = (UniqueConstraint("dataset_id", "md5"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    model_version: Mapped[int]
    md5: Mapped[str] = mapped_column(String(32))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    confidence: Mapped[float]
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LiveReader(Base):
    """The token with which the platform reads what pods of a model noted of live requests; pods know its SHA-256."""

    __tablename__ = "live_readers"

    model_name: Mapped[str] = mapped_column(String(200), primary_key=True)
    token: Mapped[str] = mapped_column(String(64))


class LiveReading(Base):
    """The last part that was read of what one pod noted: written with it, so that no part is counted twice."""

    __tablename__ = "live_readings"

    pod: Mapped[str] = mapped_column(String(36), primary_key=True)  # its UID
    instance: Mapped[str] = mapped_column(String(32), default="")
    number: Mapped[int] = mapped_column(default=0)
    read_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
