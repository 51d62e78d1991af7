"""Answers of the API that are read as they are: logs, and what a node says."""

from __future__ import annotations

from typing import Any


async def body(answer: Any) -> bytes:
    """The bytes of an answer asked for with ``_preload_content=False``, for which the client raises nothing by itself.

    Raises:
        ApiException: the API server refuses.
    """
    from kubernetes_asyncio.client import ApiException

    read = bytes(await answer.read())
    if answer.status >= 300:
        error = ApiException(status=answer.status, reason=answer.reason)
        error.body = read.decode(errors="replace")
        raise error
    return read
