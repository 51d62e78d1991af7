"""How a model server behaves; see docs/serving.md."""

from __future__ import annotations

from dataclasses import dataclass

from learnloop.settings import Settings

FINISH_SECONDS = 30
"""How long a server that ends may take for the requests it has begun."""


@dataclass(frozen=True)
class ServingConfig:
    """Limits and times of one server process.

    Attributes:
        memory_bytes: what the loaded models may take together; 0: no limit.
        keep_alive: seconds without a request after which a version leaves memory, to come back with the next; 0: never.
        batch_window: seconds for which a small request may wait for others to be predicted together with; 0: only those
            that are there already.
        batch_rows: rows that are predicted together at most.
        queue: small requests that may wait at once; what comes on top is told to come again.
        large_queue: the same for large ones, each of which may hold ``body_bytes``.
        body_bytes: the largest body that is read.
        probation: seconds after a swap in which the version before is kept at hand and takes over when the new one errs.
        access_log: whether each inference request is a line in the log.
    """

    memory_bytes: int = 0
    keep_alive: float = 0.0
    batch_window: float = 0.0
    batch_rows: int = 256
    queue: int = 256
    large_queue: int = 16
    body_bytes: int = 16 * 2**20
    probation: float = 60.0
    access_log: bool = False

    @classmethod
    def of(cls, settings: Settings) -> ServingConfig:
        return cls(
            memory_bytes=settings.serving_memory_mib * 2**20,
            keep_alive=settings.serving_keep_alive,
            batch_window=settings.serving_batch_window_ms / 1000,
            batch_rows=max(settings.serving_batch_rows, 1),
            queue=max(settings.serving_queue, 1),
            large_queue=max(settings.serving_large_queue, 1),
            body_bytes=settings.serving_body_bytes,
            probation=settings.serving_probation,
            access_log=bool(settings.serving_access_log),
        )
