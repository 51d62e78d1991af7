"""What a job gets of the mounts that another task has made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from learnloop.errors import InvalidInput

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec
    from learnloop.mounts.made import Prepared


AWAY_SECONDS = 120.0
"""So long an API server that does not answer is waited for before a job begins."""
_POLL_SECONDS = 2.0


def with_mounts(spec: JobSpec, made: Any) -> tuple[JobSpec, tuple[Prepared, ...]]:
    """The spec with the mounts that were ``made`` for it, and these. Whose they are, `check_mounts` looks at.

    Raises:
        InvalidInput: it declares a mount that was not made, or made otherwise.
    """
    from pydantic import TypeAdapter, ValidationError

    from learnloop.jobs.spec import parse_spec
    from learnloop.mounts.made import Prepared

    if not made and not spec.mounts:
        return spec, ()
    try:
        mounts = TypeAdapter(tuple[Prepared, ...]).validate_python(tuple(made or ()))
    except ValidationError as error:
        raise InvalidInput(f"`mounts` is not what a MountsOperator returns: {error.error_count()} faults") from error
    there = {one.mount.name: one.mount for one in mounts}
    for mount in spec.mounts:
        if mount.name not in there:
            raise InvalidInput(
                f"the job asks for mount {mount.name}, which nobody has made:"
                " put a MountsOperator before it, and give its output as `mounts`"
            )
        if there[mount.name] != mount:
            raise InvalidInput(f"mount {mount.name} was made for other needs than the job has: declare it in one place")
    return parse_spec({**spec.model_dump(), "mounts": [mount.model_dump() for mount in there.values()]}), mounts


def check_mounts(mounts: Sequence[Prepared], user: str, say: Callable[[str], None]) -> None:
    """Look whether ``mounts``, which came from another task, are ``user``'s to use.

    Raises:
        PermissionDenied, NotFound.
        Unavailable: the cluster's API server has not answered for `AWAY_SECONDS`.
    """
    from learnloop.errors import Unavailable
    from learnloop_airflow.mounts.home import home

    there, deadline = home(), time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return there.check(mounts, user)
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise
            say(f"{error}; waiting until it does")
            time.sleep(_POLL_SECONDS)
