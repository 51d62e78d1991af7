"""Long work told as it goes: lines of JSON, as Ollama's and Docker's pulls are.

``{"done": 300, "total": 1000}`` now and then, and last ``{"result": ...}`` or ``{"problem": {...}}``. The work goes on
when the caller hangs up, and is such that doing it again does no harm.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.encoders import jsonable_encoder

from learnloop.audit import outcome_of
from learnloop.errors import LearnloopError
from learnloop_airflow.api import audited
from learnloop_airflow.api.problems import of_error
from learnloop_airflow.api.routing import Lines

Progress = Callable[[int, int], None]

AT_ONCE = 4
EVERY_SECONDS = 0.2
_pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="long-work")


def stream(work: Callable[[Progress], Any]) -> Lines:
    """Answer with the progress and then the result of ``work``."""
    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    last = 0.0
    entry = audited.current()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY_SECONDS or done == total:
            last = now
            lines.put({"done": done, "total": total})

    def run() -> None:
        try:
            last_line = {"result": jsonable_encoder(work(progress))}
            finish("ok")
            lines.put(last_line)
        except LearnloopError as error:
            finish(outcome_of(error.status))
            lines.put({"problem": of_error(error)})
        except BaseException:
            lines.put({"problem": of_error(None)})
            finish("failed")
            raise
        finally:
            lines.put(None)

    def finish(outcome: str) -> None:
        if entry is not None:
            entry.finish(outcome)

    waiting = _pool.submit(run)

    def told() -> Iterator[str]:
        while (line := lines.get()) is not None:
            yield json.dumps(line) + "\n"
        waiting.result()  # what nobody foresaw reaches the server's log

    return Lines(told())
