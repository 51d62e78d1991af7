"""Check a declaration: one list of all that is wrong, each with its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from learnloop.errors import InvalidInput
from learnloop.jobs.quantities import bytes_of
from learnloop.jobs.spec import JobSpec, Resources
from learnloop.mounts.plan import choose, parse_mounts
from learnloop.mounts.table import table_of
from learnloop.pipelines.graph import JOB_FIELDS, LABEL, MOST_STAGES, Graph, Stage, StageInput, find_cycle

if TYPE_CHECKING:
    from learnloop.jobs.mount import Mount
    from learnloop.mounts.table import Table
    from learnloop.settings import Settings

_FIELDS = ("name", "description", "extends", "stages")
_STAGE_FIELDS = JOB_FIELDS | {"inputs", "after"}
_LONGEST_DESCRIPTION = 2000
MOST_PROBLEMS = 50
_LABEL_SAID = "must be a DNS label: at most 63 of a-z, 0-9 and -, which is neither first nor last"


@dataclass(frozen=True)
class Limits:
    """What one stage may ask for. ``images`` are names of images, with ``*`` for any text; ``classes`` what mounts
    may be put into, looked up only where there are mounts.
    """

    images: tuple[str, ...]
    cpu: float
    memory: str
    gpu: int
    classes: Callable[[], Table]


def limits_of(settings: Settings) -> Limits:
    named = [image.strip() for image in settings.job_images.split(",") if image.strip()]
    return Limits(
        images=(settings.job_image, *named),
        cpu=settings.job_cpu_cap,
        memory=settings.job_memory_cap,
        gpu=settings.job_gpu_cap,
        classes=partial(table_of, settings),
    )


def check(
    declared: dict[str, Any], limits: Limits, *, extends: str | None = None, missing: Callable[[StageInput], str | None]
) -> Graph:
    """The graph that ``declared`` stands for, laid over its base already.

    Args:
        extends: ``{name}@{version}`` of that base.
        missing: says what is wrong with an input from outside the pipeline that is not there; None when it is.

    Raises:
        InvalidInput: with a problem for each thing that is wrong.
    """
    problems = list(_head_problems(declared))
    stages: dict[str, Stage] = {}
    found = declared.get("stages")
    for name, given in found.items() if isinstance(found, dict) else ():
        stage = _stage(f"stages.{_shown(name)}", name, given, limits, problems)
        if stage is not None:
            stages[name] = stage
    known = set(found) if isinstance(found, dict) else set()
    for name, stage in stages.items():
        problems += _link_problems(f"stages.{_shown(name)}", name, stage, stages, known, missing)
    problems += _mount_problems(stages, limits)
    cycle = find_cycle(stages)
    if cycle:
        problems.append(f"stages: {' -> '.join(map(_shown, cycle))} is a cycle; a stage cannot wait for itself")
    if problems:
        raise invalid(problems)
    return Graph(name=declared["name"], description=declared.get("description", ""), extends=extends, stages=stages)


def invalid(problems: list[str]) -> InvalidInput:
    """The error that says all of ``problems``, or how many more there are."""
    more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
    return InvalidInput("the pipeline is not valid", [*problems[:MOST_PROBLEMS], *more])


def _head_problems(declared: dict[str, Any]) -> Iterator[str]:
    for field in declared:
        if field not in _FIELDS:
            yield f"{_shown(field)}: unknown field; there are {', '.join(_FIELDS)}"
    name = declared.get("name")
    if not isinstance(name, str) or not LABEL.fullmatch(name):
        yield f"name: {_LABEL_SAID}"
    description = declared.get("description", "")
    if not isinstance(description, str) or len(description) > _LONGEST_DESCRIPTION:
        yield f"description: must be text of at most {_LONGEST_DESCRIPTION} characters"
    stages = declared.get("stages")
    if not isinstance(stages, dict) or not stages:
        yield "stages: must be a mapping of at least one stage by name"
    elif len(stages) > MOST_STAGES:
        yield f"stages: there are {len(stages)}, and {MOST_STAGES} are the most"


def _stage(path: str, name: str, given: Any, limits: Limits, problems: list[str]) -> Stage | None:
    if not LABEL.fullmatch(name):
        problems.append(f"{path}: the stage's name {_LABEL_SAID}")
    if not isinstance(given, dict):
        problems.append(f"{path}: must be a mapping with module or command")
        return None
    for field in given:
        if field not in _STAGE_FIELDS:
            problems.append(f"{path}.{_shown(field)}: unknown field; there are {', '.join(sorted(_STAGE_FIELDS))}")
    job = {field: value for field, value in given.items() if field in JOB_FIELDS}
    problems += _beyond(path, job, limits)
    try:
        JobSpec.model_validate({**job, "user": "nobody"})
    except ValidationError as error:
        problems += _problems_of(path, error)
    try:
        links = {field: given[field] for field in ("inputs", "after") if field in given}
        return Stage.model_validate({"job": job, **links})
    except ValidationError as error:
        problems += _problems_of(path, error)
        return None


def _beyond(path: str, job: dict[str, Any], limits: Limits) -> Iterator[str]:
    """What is asked for and not there; what is malformed is told by others."""
    image = job.get("image")
    if isinstance(image, str) and not any(fnmatchcase(image, known) for known in limits.images):
        yield (
            f"{path}.image: {_shown(image)} is no image of this platform; there are {', '.join(limits.images)}"
            " (LEARNLOOP_JOB_IMAGES)"
        )
    try:
        asked = Resources.model_validate(job.get("resources", {}))
    except ValidationError:
        return
    for field, value, most in (("cpu", asked.cpu, limits.cpu), ("gpu", asked.gpu, limits.gpu)):
        if value > most:
            yield f"{path}.resources.{field}: {value:g} is beyond the quota of {most:g} a job"
    if bytes_of(asked.memory) > bytes_of(limits.memory):
        yield f"{path}.resources.memory: {asked.memory} is beyond the quota of {limits.memory} a job"


def _link_problems(
    path: str,
    name: str,
    stage: Stage,
    stages: dict[str, Stage],
    known: set[str],
    missing: Callable[[StageInput], str | None],
) -> Iterator[str]:
    for other in stage.after:
        if other not in known:
            yield f"{path}.after: there is no stage {_shown(other)}; there are {_listed(known - {name})}"
    for key, wanted in stage.inputs.items():
        where = f"{path}.inputs.{_shown(key)}.source"
        if wanted.stage is None:
            wrong = missing(wanted)
            if wrong is not None:
                yield f"{where}: {_printable(wrong)}"
        elif wanted.stage not in known:
            yield f"{where}: there is no stage {_shown(wanted.stage)}; there are {_listed(known - {name})}"
        elif wanted.stage in stages:
            output = wanted.source.partition("/")[2]
            promised = [str(each) for each in stages[wanted.stage].job.get("outputs", ())]
            if not any(_within(output, each) for each in promised):
                yield (
                    f"{where}: {wanted.stage} does not promise {_shown(output) or 'its whole work'};"
                    f" its outputs are {', '.join(map(_shown, promised)) or 'none: declare them there'}"
                )


def _mount_problems(stages: dict[str, Stage], limits: Limits) -> Iterator[str]:
    """Needs that stages do not share under one name, and those that no storage class meets."""
    first: dict[str, tuple[str, Mount]] = {}
    for name, stage in stages.items():
        try:
            mounts = parse_mounts(stage.job.get("mounts", ()))
        except InvalidInput:
            continue  # told of with the stage
        for number, mount in enumerate(mounts):
            where, needs = first.setdefault(mount.name, (name, mount))
            if needs != mount:
                yield (
                    f"stages.{_shown(name)}.mounts.{number}: {_shown(where)} has a mount of this name with other needs:"
                    " give both the same needs, to share it, or another name"
                )
    if not first:
        return
    try:
        choose([mount for _, mount in first.values() if not mount.claim], limits.classes())
    except InvalidInput as error:
        yield from (f"stages: {_printable(problem)}" for problem in error.problems or [str(error)])


def _within(output: str, promised: str) -> bool:
    """Whether a stage that promises one has the other: a folder of it, or one that it lies in (``models``)."""
    parts = output.split("/")
    plain = bool(output) and parts[0] in ("results", "models") and not {"", ".", ".."} & set(parts)
    return plain and f"{promised}/".startswith(f"{output}/")


def _problems_of(path: str, error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join([path, *(_shown(str(step)) for step in fault["loc"])])
        yield f"{where}: {_printable(fault['msg'].removeprefix('Value error, ')[:500])}"


def _listed(names: set[str]) -> str:
    return ", ".join(_shown(name) for name in sorted(names)) or "no others"


def _shown(text: str) -> str:
    """``text`` in a message: short, and without signs that forge a line of a log or turn it round."""
    return _printable(text if len(text) <= 80 else f"{text[:77]}...")


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
