"""What must be shut, tried from outside: doors without a token, another's namespace; and what makes no sense (8 and 9)."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import psycopg

from .rows import tables_with
from .seen import Seen
from .stack import Stack

API = "/learnloop/api/v1"
NOBODY_THERE = (401, 429)
"""Beside 500 and more: who asks too often, or whose token does not count yet, has not come to what is tried."""
SAYS_WHAT_WAS_REFUSED = frozenset({"audit_events"})


def without_a_token(stack: Stack) -> list[str]:
    """8: nobody gets in without a token."""
    problems = []
    for path in ("/datasets", "/deployments", "/audit"):
        status = httpx.get(stack.url + API + path, timeout=30).status_code
        if status not in (401, 404, 429, 502, 503, 504):  # refused, or nobody there to answer
            problems.append(f"{path} without a token is answered with {status}")
    return problems


def anothers_namespace(db: psycopg.Connection[Any], stack: Stack, seen: Seen) -> list[str]:
    """8: a scientist who owns nothing is shown nothing of others' workspaces, by their names or by their folders."""
    if not stack.stranger:
        return []
    problems = []
    rows = db.execute(
        "SELECT owner, name, path FROM workspaces WHERE state = 'ready' ORDER BY id DESC LIMIT 3"
    ).fetchall()
    listed, told = _asked(stack, stack.stranger, "GET", "/workspaces")
    if listed == 200 and told["items"]:
        problems.append(f"who has no workspace is shown {told['items'][0]['path']}")
    for owner, name, path in rows:
        status, _ = _asked(stack, stack.stranger, "GET", f"/workspaces/{name}/changes")
        if status == 200:
            problems.append(f"who has no workspace reads {name} of {owner}")
        status, _ = _asked(stack, stack.stranger, "POST", "/snapshots", {"path": path})
        if status == 200:
            problems.append(f"{path} of {owner} was read into a version by somebody else")
        seen.did["tried another's workspace"] += 1
    return problems


def bad_input(db: psycopg.Connection[Any], stack: Stack, seen: Seen) -> list[str]:
    """9: what makes no sense is refused with words, and no row has come of it."""
    mark = f"nonsense-{uuid.uuid4().hex}"
    datasets = db.execute("SELECT name FROM datasets ORDER BY id DESC LIMIT 1").fetchall()
    tried = [
        *(("POST", f"/datasets/{name}/lock", {"seconds": -1, "purpose": mark}) for (name,) in datasets),
        ("POST", "/workspaces", {"version": mark, "name": mark}),
        ("POST", "/snapshots", {"path": f"/{mark}", "message": mark}),
    ]
    problems = [problem for one in tried for problem in _refused(stack, seen, *one)]
    problems += _unknown_label(db, stack, seen, mark)
    changed = tables_with(db, [mark], but=SAYS_WHAT_WAS_REFUSED)
    return [*problems, *(f"bad input was refused, and is in the table {table}" for table in changed)]


def _unknown_label(db: psycopg.Connection[Any], stack: Stack, seen: Seen, label: str) -> list[str]:
    """An answer of a kind that there is not, by who holds the task: nobody else may answer it meanwhile."""
    open_ = db.execute("SELECT id FROM annotation_tasks WHERE state = 'open' ORDER BY id DESC LIMIT 1").fetchone()
    if open_ is None:
        return []
    (task,) = open_
    if _asked(stack, stack.token, "POST", f"/tasks/{task}/claim")[0] != 200:
        return []  # somebody else was faster, or nobody is there
    try:
        before = _answers(db, task)
        problems = _refused(stack, seen, "POST", f"/tasks/{task}/annotation", {"label": label})
        if _answers(db, task) != before:
            problems.append(f"an answer with an unknown label changed the rows of task {task}")
    finally:
        _asked(stack, stack.token, "DELETE", f"/tasks/{task}/claim")
    return problems


def _answers(db: psycopg.Connection[Any], task: int) -> list[Any]:
    asked = "SELECT id, label, owner FROM annotations WHERE task_id = %s ORDER BY id"
    return db.execute(asked, (task,)).fetchall()


def _refused(stack: Stack, seen: Seen, method: str, path: str, body: dict[str, Any]) -> list[str]:
    """What was wrong with how it was refused."""
    status, told = _asked(stack, stack.token, method, path, body)
    if status in NOBODY_THERE or status >= 500:
        seen.did["bad input, and nobody there to refuse it"] += 1
        return []
    seen.did["bad input"] += 1
    if status < 400:
        return [f"bad input to {path} was taken: {status} {str(told)[:200]}"]
    return [] if told.get("detail") else [f"bad input to {path} was refused with {status} and no word"]


def _asked(
    stack: Stack, token: str, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and content; of an answer in lines those of its end. 503 when there is none."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = httpx.request(method, stack.url + API + path, headers=headers, json=body, timeout=60)
    except httpx.HTTPError:
        return 503, {}
    lines = answer.text.strip().splitlines()
    try:
        told = json.loads(lines[-1] if lines else "{}")
    except ValueError:  # a proxy's own words
        return answer.status_code, {}
    if answer.status_code == 200 and "problem" in told:
        return int(told["problem"]["status"]), told["problem"]
    return answer.status_code, told
