"""Tables of pipelines: what was declared, in versions that never change, and what came of their runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned


class Pipeline(Owned, Base):
    """A pipeline's name, and whose it is. ``personal_to``: only they see and run it; None: everybody."""

    __tablename__ = "pipelines"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    personal_to: Mapped[str | None] = mapped_column(String(250))


class PipelineVersion(Owned, Base):
    """One declaration, checked. Rows are added and never changed, in the order of their ids: the bundle is a state of them.

    ``removed``: from here on there is no such pipeline, until a later version.
    """

    __tablename__ = "pipeline_versions"
    __table_args__ = (
        UniqueConstraint("pipeline_id", "number"),
        Index("ix_pipeline_versions_base_id", "base_id", postgresql_where=text("base_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"))
    number: Mapped[int]
    declaration: Mapped[str] = mapped_column(Text)  # as it was given
    graph: Mapped[Json] = mapped_column(default=dict)  # `pipelines.graph.Graph`: whole, nothing left to the base
    base_id: Mapped[int | None] = mapped_column(ForeignKey("pipeline_versions.id"))
    message: Mapped[str] = mapped_column(Text, default="")
    provenance: Mapped[Json] = mapped_column(default=dict)  # of an incremental training: its data, and who asked
    removed: Mapped[bool] = mapped_column(default=False)

    pipeline: Mapped[Pipeline] = relationship()
    base: Mapped[PipelineVersion | None] = relationship(remote_side="PipelineVersion.id")


class PipelineRun(Owned, Base):
    """A run of Airflow's of one version, with what it fixed at its start."""

    __tablename__ = "pipeline_runs"
    __table_args__ = (
        UniqueConstraint("dag_id", "run_id"),
        Index("ix_pipeline_runs_version_id_id", "version_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("pipeline_versions.id"))
    dag_id: Mapped[str] = mapped_column(String(250))
    run_id: Mapped[str] = mapped_column(String(250))
    pins: Mapped[Json] = mapped_column(default=dict)  # stage -> input -> what it was resolved to

    version: Mapped[PipelineVersion] = relationship()


class StageRun(Owned, Base):
    """A stage of a run: the job as it was run (without secrets), and what it left."""

    __tablename__ = "stage_runs"

    run_id: Mapped[int] = mapped_column(ForeignKey("pipeline_runs.id"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(63), primary_key=True)
    tries: Mapped[int] = mapped_column(Integer, default=1)
    spec: Mapped[Json] = mapped_column(default=dict)
    result: Mapped[Json | None]
    results_dir: Mapped[str] = mapped_column(Text, default="")
    models_dir: Mapped[str] = mapped_column(Text, default="")
    ended_at: Mapped[datetime | None]

    run: Mapped[PipelineRun] = relationship()
