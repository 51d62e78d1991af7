"""Loads versions in threads, each once at a time, whoever asks: the reconciler, or a request for what left memory."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from learnloop.serving.models import ModelSet
from learnloop.serving.versions import Key, LoadedVersion

THREADS = 2


class Loader:
    def __init__(self, models: ModelSet) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._running: dict[Key, Future[LoadedVersion]] = {}
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="load-model")

    def start(self, key: Key, *, fresh: bool) -> Future[LoadedVersion]:
        """The load of a version, which runs from now or has run since an earlier call.

        Args:
            fresh: it is for a swap (`ModelSet.load`).
        """
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                return running
            begun = self._running[key] = self._pool.submit(self._models.load, *key, fresh=fresh)
        begun.add_done_callback(lambda _: self._end(key))  # it may have ended already, and then ends here
        return begun

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _end(self, key: Key) -> None:
        with self._lock:
            self._running.pop(key, None)
