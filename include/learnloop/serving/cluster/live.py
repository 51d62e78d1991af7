"""Reads what pods noted of live requests (`learnloop.serving.handover`), and writes it where the dataset's loop reads it.

A part is written in one transaction with its number, so it is counted once, however reading it ends and whoever does it. A
pod is not trusted: what it says is checked, and which model and version it serves is what its labels say.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import LiveReader, LiveReading
from learnloop.errors import InvalidInput, LearnloopError
from learnloop.serving.cluster.manifests import PORT, Noting
from learnloop.serving.cluster.objects import Objects
from learnloop.serving.cluster.units import MANAGED, MODEL, VERSION, model_label
from learnloop.serving.handover import HEADER, PART_BYTES, PATH
from learnloop.serving.live import write
from learnloop.serving.noting import MOST_WINDOWS, LiveRules, Noted, Sample, Window
from learnloop.serving.wanted import live_rules
from learnloop.training.reference import BINS, FEATURES

MOST_PARTS = 32
"""Parts that are read of one pod before the next pod's turn comes; the rest is there the next time."""
MOST_BYTES = 4 * PART_BYTES
"""Of one part as JSON: samples in base64, one that is larger than a part, and counts."""

Log = Callable[[str], None]
Sessions = Callable[[], AbstractContextManager[Session]]
Count = Annotated[int, Field(ge=0, le=10**12)]
Bins = Annotated[list[Count], Field(max_length=BINS)]
Features = Annotated[list[Bins], Field(max_length=FEATURES)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Counts(_Said):
    confidence: Annotated[list[Count], Field(min_length=BINS, max_length=BINS)]
    predicted: Annotated[list[Count], Field(min_length=1, max_length=100_000)]
    inputs: Features | None = None
    reference: Features | None = None


class _Window(_Said):
    hour: AwareDatetime
    rows: Count
    counts: _Counts


class _Sample(_Said):
    confidence: float = Field(ge=0, le=1)
    data: Base64Bytes


class Part(_Said):
    """What a pod gives at once."""

    instance: str = Field(pattern=r"[0-9a-f]{32}")
    number: int = Field(ge=0, lt=2**31)
    windows: list[_Window] = Field(max_length=MOST_WINDOWS)
    samples: list[_Sample]

    def noted(self, model: str, version: int) -> Noted:
        windows = {
            ((model, version), one.hour.replace(minute=0, second=0, microsecond=0)): Window(
                one.rows, one.counts.model_dump(exclude_none=True)
            )
            for one in self.windows
        }
        samples = {
            (model, hashlib.md5(one.data, usedforsecurity=False).hexdigest()): Sample(version, one.data, one.confidence)
            for one in self.samples
        }
        return Noted(windows, samples)


def noting_of(sessions: Sessions, model: str) -> Noting | None:
    """What pods of a model are to note; None: nothing. The token of who reads it is made when there is none yet."""
    with sessions() as db:
        rules = live_rules(db).get(model)
        if not rules:
            return None
        return Noting(rules, hashlib.sha256(_token(db, model).encode()).hexdigest())


def read_live(sessions: Sessions, objects: Objects, model: str | None = None, log: Log | None = None) -> dict[str, Any]:
    """Read what the pods of ``model``, or of all models, have noted, and write it down.

    A pod that does not answer, or answers what cannot be, is told of and left for the next time.

    Returns:
        ``{"rows", "samples", "failed"}``: how many were read; which pods were not read, and why.
    """
    with sessions() as db:
        rules = {name: of for name, of in live_rules(db).items() if of and model in (None, name)}
        tokens = {name: _token(db, name) for name in rules}
    rows = samples = 0
    failed = []
    for name, of in rules.items():
        for pod in objects.all_of("v1", "Pod", {**MANAGED, MODEL: model_label(name)}):
            try:
                found = _read_pod(sessions, objects, pod, name, of, tokens[name])
            except LearnloopError as error:
                failed.append(f"{pod['metadata']['name']}: {error}")
                continue
            rows, samples = rows + found[0], samples + found[1]
    if log is not None and failed:
        log(f"live requests were not read of these pods: {'; '.join(failed)}")
    return {"rows": rows, "samples": samples, "failed": failed}


def _read_pod(
    sessions: Sessions, objects: Objects, pod: dict[str, Any], model: str, rules: LiveRules, token: str
) -> tuple[int, int]:
    """Rows and samples that were read."""
    about = pod["metadata"]
    rows = samples = 0
    for _ in range(MOST_PARTS):
        with sessions() as db:
            last = _last(db, about["uid"])
            if last is None:
                break  # another reads it just now
            query = {"instance": last.instance, "after": str(last.number)}
            answer = objects.through(about["name"], PORT, PATH, query=query, headers={HEADER: token}, most=MOST_BYTES)
            if answer is None:
                break  # a pod that notes nothing, or that is gone
            part = _parsed(answer, about["name"])
            noted = part.noted(model, int(about["labels"][VERSION]))
            if not noted or (part.instance, part.number) == (last.instance, last.number):
                break
            _write(db, {model: rules}, noted, about["name"])
            last.instance, last.number = part.instance, part.number
        rows += sum(window.rows for window in noted.windows.values())
        samples += len(noted.samples)
    return rows, samples


def _parsed(answer: bytes, pod: str) -> Part:
    try:
        return Part.model_validate_json(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"pod {pod} says of its live requests what cannot be: {where}: {first['msg']}") from error


def _write(db: Session, rules: dict[str, LiveRules], noted: Noted, pod: str) -> None:
    newest = max((hour for _, hour in noted.windows), default=None)
    if newest is not None and newest > db.scalars(select(func.now())).one() + timedelta(hours=1):
        raise InvalidInput(f"pod {pod} says of its live requests what cannot be: an hour at {newest.isoformat()}")
    try:
        write(db, rules, noted)
    except ValueError as error:
        raise InvalidInput(f"pod {pod} counts other things than other pods of its version: {error}") from error


def _last(db: Session, pod: str) -> LiveReading | None:
    """What was read last of a pod, locked; None: another has it."""
    db.execute(insert(LiveReading).values(pod=pod, instance="", number=0).on_conflict_do_nothing())
    return db.scalar(select(LiveReading).where(LiveReading.pod == pod).with_for_update(skip_locked=True))


def _token(db: Session, model: str) -> str:
    new = insert(LiveReader).values(model_name=model, token=secrets.token_hex(32))
    db.execute(new.on_conflict_do_nothing())
    return db.scalars(select(LiveReader.token).where(LiveReader.model_name == model)).one()
