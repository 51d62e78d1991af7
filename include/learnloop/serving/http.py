"""How every model server speaks HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from learnloop.serving.config import FINISH_SECONDS

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections, so that it is they who close them and no request meets a closed one."""


def http_config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """It has no access log (`learnloop.serving.inference` writes one where it is wanted), and ends when all is answered."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
