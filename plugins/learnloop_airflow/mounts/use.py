"""What a job gets of the mounts that another task has made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from learnloop.errors import InvalidInput

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec
    from learnloop.mounts.made import Prepared


def with_mounts(spec: JobSpec, made: Any) -> tuple[JobSpec, tuple[Prepared, ...]]:
    """The spec with the mounts that were ``made`` for it, and these. Whose they are, `Home.check` looks at.

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
