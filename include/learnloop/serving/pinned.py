"""``python -m learnloop.serving.pinned``: serve one version of one model, as a pod of a Deployment does.

It answers as any model server (docs/serving.md), but reads no database: what it serves is said when it is started, and
another version is another pod. It is ready once the model is loaded and has passed its smoke test. A model that may not be
served ends it, with the reason in the pod's termination message and exit code `REFUSED`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop import logs
from learnloop.errors import Corrupted, InvalidInput
from learnloop.settings import settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from learnloop.serving.config import ServingConfig
    from learnloop.serving.noting import LiveRules
    from learnloop.serving.versions import Load

REFUSED = 78
"""The exit code that says: it is the model. Started again it would end the same."""
DRAIN_SECONDS = 15.0
"""For so long after SIGTERM requests are still answered. A node hears within a second that a pod goes, but not from an API
server that has just come back: who watches it tries again only after a while that grows with how long it was away."""
TERMINATION_LOG = Path("/dev/termination-log")

log = logging.getLogger(__name__)


class PinnedServer:
    """Serves ``{name}`` version ``version`` from ``folder`` under ``aliases`` until SIGTERM; then drains, and ends.

    Args:
        drain: seconds for which it goes on answering after SIGTERM (`learnloop.serving.draining`).
        live: what is noted of requests; None: nothing.
        reader: the SHA-256 of the token of who may read that (`learnloop.serving.handover`).
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        name: str,
        version: int,
        aliases: Sequence[str],
        folder: Path,
        load: Load,
        config: ServingConfig,
        drain: float = DRAIN_SECONDS,
        live: LiveRules | None = None,
        reader: str = "",
    ) -> None:
        from learnloop.serving.app import create_app
        from learnloop.serving.draining import Draining, DrainingServer
        from learnloop.serving.handover import Handover
        from learnloop.serving.http import http_config
        from learnloop.serving.inference import Inference
        from learnloop.serving.loading import Loader
        from learnloop.serving.metrics import Metrics
        from learnloop.serving.models import ModelSet
        from learnloop.serving.noting import Notes
        from learnloop.serving.tracing import traced

        self.url = f"http://{host}:{port}"
        self.failure: Exception | None = None
        self._key = (name, version)
        self._aliases = aliases
        self._loaded = threading.Event()
        self.draining = Draining()
        self.models = ModelSet(lambda *_: folder, load)
        metrics = Metrics(self.models, database=False)
        notes = Notes()
        notes.configure({name: live} if live is not None else {})
        self._handover = Handover(notes, metrics, reader) if live is not None else None
        inference = Inference(
            self.models, Loader(self.models), metrics, config, on_fault=lambda _: None, watch=notes.watch
        )
        app = create_app(
            self.models,
            metrics,
            inference,
            ready=lambda: self._loaded.is_set() and not self.draining.begun,
            live=lambda: self.failure is None,
            lifespan=self._lifespan,
            more=self._handover.routes if self._handover is not None else (),
        )
        self._http = DrainingServer(
            http_config(self.draining.around(traced(app)), host, port),
            self.draining,
            drain,
        )

    def run(self) -> None:
        """Returns when it has ended; ``failure`` says why it could not serve, if it could not."""
        self._http.run()

    def stop(self) -> None:
        self._http.should_exit = True

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=self._load, name="load-model", daemon=True).start()
        yield
        if self._handover is not None and any(left := self._handover.left):
            log.warning("Ended with %d rows and %d samples of live requests that nobody has read", *left)

    def _load(self) -> None:
        name, version = self._key
        try:
            self.models.load(name, version)
            for alias in self._aliases:
                self.models.move_alias(name, alias, version)
        except Exception as error:
            log.exception("Cannot serve %s version %d", name, version)
            self.failure = error
            self.stop()
        else:
            log.info("Serving %s version %d as %s", name, version, ", ".join(self._aliases))
            self._loaded.set()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m learnloop.serving.pinned", description="Serve one model version.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True, type=int)
    parser.add_argument("--alias", required=True, action="append", dest="aliases")
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS)
    parser.add_argument("--live", default="null", help="what is noted of requests: fields of LiveRules, as JSON")
    parser.add_argument("--reader", default="", help="the SHA-256 of the token of who may read what was noted")
    asked = parser.parse_args()
    logs.configure(settings().log_format, component="model-server", model=asked.name, version=asked.version)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # as in learnloop.serving.__main__, and before numpy is imported

    from learnloop.serving.config import ServingConfig
    from learnloop.serving.noting import LiveRules
    from learnloop.training.models import load

    live = json.loads(asked.live)
    server = PinnedServer(
        host=asked.host,
        port=asked.port,
        name=asked.name,
        version=asked.version,
        aliases=asked.aliases,
        folder=asked.folder,
        load=load,
        config=ServingConfig.of(settings()),
        drain=asked.drain_seconds,
        live=LiveRules(**live) if live is not None else None,
        reader=asked.reader,
    )
    server.run()
    if server.failure is None:
        return 0
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(f"{type(server.failure).__name__}: {server.failure}"[:4000], encoding="utf-8")
    return REFUSED if isinstance(server.failure, InvalidInput | Corrupted) else 1


if __name__ == "__main__":
    sys.exit(main())
