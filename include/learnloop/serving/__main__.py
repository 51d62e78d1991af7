"""``python -m learnloop.serving --host 127.0.0.1 --port 8090``: run a model server."""

from __future__ import annotations

import argparse
import os

from learnloop import logs
from learnloop.settings import settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m learnloop.serving", description="Run a Learnloop model server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    asked = parser.parse_args()
    logs.configure(settings().log_format, component="model-server")
    # Requests are served side by side already; BLAS threads on top only get in each other's way. It must be
    # set before numpy is imported, hence the imports here.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"

    from learnloop.models.registry import source_of
    from learnloop.serving.config import ServingConfig
    from learnloop.serving.server import ModelServer
    from learnloop.training.models import load

    ModelServer(
        host=asked.host,
        port=asked.port,
        database_url=settings().database_url,
        source_of=source_of,
        load=load,
        config=ServingConfig.of(settings()),
    ).run()


if __name__ == "__main__":
    main()
