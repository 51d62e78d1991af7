"""The one checker of what is promised (the design, section 6): it knows nothing of Learnloop's code.

It reads the HTTP API, the tables, the objects of the store, the models' files and the process table, and says in words what
is not as promised. With ``calm`` nothing is under way, and what must be so in the end is looked at, too.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from typing import Any

import psycopg
import pyarrow.parquet as pq

from .closed import anothers_namespace, bad_input, without_a_token
from .leaks import leaked
from .left import left_over, not_taken_back
from .seen import Seen
from .stack import Stack

OF_THE_LOOP = ("incremental_training", "score_incoming_data", "structure_optimization", "dispatch_rounds")
CLOSED = ("accepted", "rejected", "failed")


def broken(stack: Stack, seen: Seen, *, calm: bool) -> list[str]:
    """What is not as promised, in words; empty when all is."""
    with (
        psycopg.connect(stack.learnloop, autocommit=True) as db,
        psycopg.connect(stack.mlflow, autocommit=True) as mlflow,
    ):
        return [
            *seen.faults,
            *_answers(db, seen, calm),
            *_rounds(db, mlflow, stack, calm),
            *_store(db, stack),
            *_models(db, mlflow, stack),
            *_written(db, stack, seen),
            *without_a_token(stack),
            *anothers_namespace(db, stack, seen),
            *bad_input(db, stack, seen),
            *(_merged(db, stack) if calm else ()),
            *(leaked(db, mlflow, stack) if calm else ()),
            *(left_over(db, stack) if calm else ()),
        ]


def at_rest(stack: Stack) -> bool:
    """Whether no round is open, no run of the loop goes, and maintenance has taken back what the dead left: what is then
    not as promised will not become so.
    """
    with psycopg.connect(stack.learnloop, autocommit=True) as db:
        if db.execute("SELECT 1 FROM rounds WHERE state IN ('requested', 'running') LIMIT 1").fetchone():
            return False
        if not_taken_back(db):
            return False
    runs = stack.get("/api/v2/dags/~/dagRuns?state=running&state=queued&limit=100")["dag_runs"]
    return not [run for run in runs if run["dag_id"] in OF_THE_LOOP]


def _answers(db: psycopg.Connection[Any], seen: Seen, calm: bool) -> list[str]:
    """2: one holder a task; an answer is neither lost nor counted twice."""
    problems = [f"task {one.task} was held by {one.person} and {two.person} at once" for one, two in seen.overlapping()]
    accepted = dict(seen.accepted)  # before the rows: what was acknowledged by now is there by then
    rows = db.execute("SELECT task_id, owner, label FROM annotations WHERE withdrawn_at IS NULL").fetchall()
    stored = {(task, owner): label for task, owner, label in rows}
    if len(stored) != len(rows):
        problems.append("a person's answer to a task is stored twice")
    lost = [f"{key}={label}" for key, label in accepted.items() if stored.get(key) != label]
    if lost:
        problems.append(f"{len(lost)} answers were acknowledged and are not stored: {lost[:3]}")
    if calm and (unknown := stored.keys() - seen.accepted.keys()):
        problems.append(f"{len(unknown)} answers are stored that nobody was told of: {sorted(unknown)[:3]}")
    numbers = db.execute(
        "SELECT dataset_id, array_agg(number ORDER BY number) FROM confirmed_annotations GROUP BY 1"
    ).fetchall()
    problems += [
        f"confirmed labels of dataset {dataset} are not numbered from 1 on, each once"
        for dataset, found in numbers
        if found != list(range(1, len(found) + 1))
    ]
    twice = db.execute(
        "SELECT sample_id FROM confirmed_annotations WHERE supersedes_id IS NULL GROUP BY dataset_id, batch_id, sample_id"
        " HAVING count(*) > 1"
    ).fetchall()
    if twice:
        problems.append(f"{len(twice)} samples are confirmed twice: {twice[:3]}")
    return problems


def _rounds(db: psycopg.Connection[Any], mlflow: psycopg.Connection[Any], stack: Stack, calm: bool) -> list[str]:
    """5: one training run a round, one model version a training run."""
    problems = []
    rounds = db.execute(
        "SELECT d.name, r.number, r.state, r.model_version FROM rounds r JOIN datasets d ON d.id = r.dataset_id"
        " ORDER BY 1, 2"
    ).fetchall()
    models = Counter((name, version) for name, _, _, version in rounds if version is not None)
    problems += [f"version {key} is the model of {count} rounds" for key, count in models.items() if count > 1]
    by_name: dict[str, list[int]] = {}
    for name, number, _, _ in rounds:
        by_name.setdefault(name, []).append(number)
    problems += [
        f"the rounds of {name} are {numbers}, not one after the other"
        for name, numbers in by_name.items()
        if numbers != list(range(len(numbers)))
    ]
    keys = mlflow.execute(
        "SELECT name, value, count(*) FROM model_version_tags WHERE key = 'idempotency_key' GROUP BY 1, 2"
        " HAVING count(*) > 1"
    ).fetchall()
    problems += [f"one training made {count} versions of {name} ({key})" for name, key, count in keys]
    registered = {tuple(row) for row in mlflow.execute("SELECT name, version FROM model_versions").fetchall()}
    problems += [f"round {n} of {d} names version {v}, which is not registered" for d, n, _, v in rounds
                 if v is not None and (d, v) not in registered]  # fmt: skip
    runs = stack.get("/api/v2/dags/incremental_training/dagRuns?limit=200")["dag_runs"]
    ids = Counter(run["dag_run_id"] for run in runs)
    problems += [f"there are {count} runs {name}" for name, count in ids.items() if count > 1]
    if calm:
        done = {run["dag_run_id"] for run in runs}
        problems += [f"round {n} of {d} is {state} and has no run" for d, n, state, _ in rounds
                     if n and f"round-{d}-{n}" not in done]  # fmt: skip
        problems += [f"round {n} of {d} is still {state}" for d, n, state, _ in rounds if state not in CLOSED]
    return problems


def _store(db: psycopg.Connection[Any], stack: Stack) -> list[str]:
    """1 and 7: what is there is whole, and what a version names is there."""
    problems = []
    trees = {
        tree for (tree,) in db.execute("SELECT tree FROM dataset_versions UNION SELECT tree FROM batches").fetchall()
    }
    names = set()
    for path in (stack.store / "files" / "md5").glob("??/*"):
        name = path.parent.name + path.name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # collected meanwhile; it is missed below if anything names it
        names.add(name)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != name[:32]:
            problems.append(f"object {name} of the store is not whole")
    for tree in trees:
        if tree not in names:
            problems.append(f"the tree {tree} of a version is not in the store")
            continue
        missing = set(stack.tree(tree).values()) - names
        if missing:
            problems.append(f"{len(missing)} objects of the tree {tree} are not in the store, such as {min(missing)}")
    return problems


def _models(db: psycopg.Connection[Any], mlflow: psycopg.Connection[Any], stack: Stack) -> list[str]:
    """1 and 6: a registered model's files are whole; what the gate rejected is not served."""
    problems = []
    for name, version, source in mlflow.execute("SELECT name, version, source FROM model_versions").fetchall():
        folder = stack.seen_from_here(source.removeprefix("file://"))
        if not (folder / "manifest.json").is_file():
            problems.append(f"version {version} of {name} is registered and has no files at {folder}")
            continue
        listed = json.loads((folder / "manifest.json").read_text())
        for file, sha256 in _checksums(listed):
            if not (folder / file).is_file() or hashlib.sha256((folder / file).read_bytes()).hexdigest() != sha256:
                problems.append(f"{file} of {name} version {version} is not whole")
    rejected = {
        (name, version)
        for name, version in db.execute(
            "SELECT d.name, r.model_version FROM rounds r JOIN datasets d ON d.id = r.dataset_id WHERE r.state = 'rejected'"
        ).fetchall()
    }
    served = db.execute("SELECT model_name, alias, model_version FROM deployments").fetchall()
    problems += [f"{name}:{alias} is version {version}, which the gate rejected" for name, alias, version in served
                 if (name, version) in rejected]  # fmt: skip
    return problems


def _merged(db: psycopg.Connection[Any], stack: Stack) -> list[str]:
    """1 and 3: every label that a closed round took is in the head's table, as it was confirmed, once."""
    problems = []
    heads = db.execute(
        "SELECT d.id, d.name, v.tree FROM datasets d JOIN dataset_versions v ON v.id = d.head_id"
    ).fetchall()
    for dataset, name, tree in heads:
        taken = db.execute(
            "SELECT c.sample_id, c.label FROM round_annotations ra JOIN confirmed_annotations c ON c.id = ra.confirmed_id"
            " JOIN rounds r ON r.id = ra.round_id WHERE c.dataset_id = %s AND r.version_id IS NOT NULL",
            (dataset,),
        ).fetchall()
        md5 = stack.tree(tree)["annotations.parquet"]
        table = pq.read_table(io.BytesIO(stack.object(md5)), columns=["sample_id", "label"]).to_pylist()
        labels = {row["sample_id"]: row["label"] for row in table}
        if len(labels) != len(table):
            problems.append(f"the head of {name} has a sample twice")
        if wrong := [sample for sample, label in taken if labels.get(sample) != label]:
            problems.append(f"{len(wrong)} labels that rounds of {name} took are not in its head, such as {wrong[0]}")
    return problems


def _written(db: psycopg.Connection[Any], stack: Stack, seen: Seen) -> list[str]:
    """3 and 4: what writers were told is merged is in the head, once; what was written past a lock's expiry is not."""
    written, refused, merged = (
        dict(seen.written),
        set(seen.refused),
        sorted(seen.merged),
    )  # before the head is looked at
    heads = dict(
        db.execute("SELECT d.name, v.tree FROM datasets d JOIN dataset_versions v ON v.id = d.head_id").fetchall()
    )
    files = {name: stack.tree(heads[name]) for name in {name for name, _ in [*written, *refused]}}
    lost = [path for (name, path), md5 in written.items() if files[name].get(path) != md5]
    late = [path for name, path in refused if path in files[name]]
    times = db.execute(
        "SELECT v.name, count(*) FROM dataset_version_parents p JOIN dataset_versions v ON v.id = p.parent_id"
        " WHERE p.position > 0 AND v.name = ANY(%s) GROUP BY 1",
        (merged,),
    ).fetchall()
    return [
        *([f"{len(lost)} files were merged and are not in the head, such as {lost[0]}"] if lost else []),
        *(f"{path} was written past the expiry of its lock" for path in late),
        *(f"{name} was merged {count} times" for name, count in times if count > 1),
    ]


def _checksums(listed: Any) -> list[tuple[str, str]]:
    files = listed.get("files", listed)
    return [(name, found["sha256"] if isinstance(found, dict) else found) for name, found in files.items()]
