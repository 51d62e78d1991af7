"""What jobs used, beside what they asked for."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Owned


class JobUsage(Owned, Base):
    """Of one try of a task that ran a job, once that has ended, however it did. None: not measured.

    ``asked_cpu`` and ``cpu_seconds`` are of processors, memory is in bytes, ``seconds`` from the job's start to its end,
    ``gpus`` were busy on average.
    """

    __tablename__ = "job_usages"
    __table_args__ = (
        UniqueConstraint("dag_id", "run_id", "task_id", "map_index", "try_number"),
        Index("ix_job_usages_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    dag_id: Mapped[str] = mapped_column(String(250))
    run_id: Mapped[str] = mapped_column(String(250))
    task_id: Mapped[str] = mapped_column(String(250))
    map_index: Mapped[int]
    try_number: Mapped[int]
    runner: Mapped[str] = mapped_column(String(20))
    asked_cpu: Mapped[float]
    asked_memory: Mapped[int] = mapped_column(BigInteger)
    asked_gpu: Mapped[int]
    seconds: Mapped[float]
    cpu_seconds: Mapped[float | None]
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    gpu_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    gpus: Mapped[float | None]
