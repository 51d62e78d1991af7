"""Handlers that make the whole answer where they run.

FastAPI runs a handler in a thread, checks what it returned in another, and makes JSON of it on the event loop. Each change
of threads costs a read about as much as a statement does; here all of it is done in the handler's thread.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastapi import Response
from pydantic import TypeAdapter


def in_one_thread(
    handler: Callable[..., Any], *, response_model: Any = None, status_code: int | None = None, **options: Any
) -> Callable[..., Any]:
    """``handler``, answering with what its model says of what it returns, as JSON.

    Handlers without a model, those that wait on the event loop, and those that say something in FastAPI's ``Response`` of
    their own are left as they are.
    """
    said = inspect.signature(handler, eval_str=True)
    in_headers = any(parameter.annotation is Response for parameter in said.parameters.values())
    if response_model is None or inspect.iscoroutinefunction(handler) or in_headers:
        return handler
    model: TypeAdapter[Any] = TypeAdapter(response_model)

    @functools.wraps(handler)
    def answer(**values: Any) -> Response:
        found = model.validate_python(handler(**values), from_attributes=True)
        return Response(model.dump_json(found), status_code or 200, media_type="application/json")

    return answer
