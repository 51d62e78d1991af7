"""Fetch a job's inputs into its data folder. Only the stager has credentials for the store; a job has none."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from learnloop.errors import InvalidInput
from learnloop_airflow.common import store

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec

log = logging.getLogger(__name__)


def stage(spec: JobSpec, data: Path) -> None:
    """Put every input of ``spec`` at ``data/{its name}``; each appears whole or not at all."""
    for name, wanted in spec.inputs.items():
        target = data / name
        if target.exists():
            continue  # staged by an earlier try of the same job
        if wanted.kind in ("dataset", "batch"):
            _check_out(wanted.source, target, wanted.include, spec.user)
        elif wanted.kind == "model":
            from learnloop.models import registry

            model, _, version = wanted.source.rpartition("/")
            _copy(registry.source_of(model, int(version)), target)
        else:
            address = urlsplit(wanted.source)
            if address.scheme != "file":
                raise InvalidInput(
                    f"input {name!r}: {wanted.source!r} cannot be staged yet; it must be a file:// address"
                )
            _copy(Path(unquote(address.path)), target)


def _check_out(tree: str, target: Path, include: Sequence[str] | None, user: str) -> None:
    from learnloop.database import session
    from learnloop.datasets.tiers import ensure_tree_hot
    from learnloop.datasets.uses import record_use

    objects = store()
    with session() as db:
        version = ensure_tree_hot(db, objects, tree, progress=said)
        objects.checkout(objects.read_tree(tree), target, include=include)
        if version is not None:
            record_use(db, version, "job", user)


def said(done: int, total: int) -> None:
    if done % 1000 == 0 or done == total:
        log.info("recalled %d of %d objects", done, total)


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(target.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    temporary.rename(target)
