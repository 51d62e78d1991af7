"""``learnloop queue``: which jobs run, which wait, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from learnloop.commands.common import JsonOption, client, moment, say, show, size, table


def show_queue(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many jobs.")] = 200,
    capacity: Annotated[bool, typer.Option("--capacity", help="Show what the node pools have instead.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """The jobs that run, then those that wait, next first: place, what they need, and why they wait."""
    with client() as api:
        if capacity:
            found = api.capacity()
            show(found, as_json, lambda: _capacity(found))
        else:
            jobs = api.queue(limit)
            show(jobs, as_json, lambda: _queue(jobs))


def _queue(jobs: list[dict[str, Any]]) -> None:
    if not jobs:
        say("no job runs or waits")
        return
    headings = ("place", "user", "run", "task", "needs", "since", "why")
    table(headings, [_row(job) for job in jobs])


def _row(job: dict[str, Any]) -> list[object]:
    task = job["task_id"] + (f" {job['map_index']}" if job["map_index"] >= 0 else "")
    where = f" on {job['node_pool']}" if job["node_pool"] else ""
    place = job["place"] or ("?" if job["state"] == "waiting" else "runs")
    why = "" if job["state"] == "begun" else job["reason"]
    run = f"{job['dag_id']} {job['run_id']}"
    return [place, job["user"], run, task, _amounts(job) + where, moment(job["admitted_at"] or job["asked_at"]), why]


def _capacity(found: dict[str, Any]) -> None:
    if found["decided_at"] is None:
        say(f"nothing is known yet: no job has asked for a reservation (LEARNLOOP_ADMISSION is {found['admission']})")
        return
    rows = [
        [pool["pool"] or "none", pool["nodes"], *(_amounts(pool[part]) for part in ("total", "others", "held"))]
        for pool in found["pools"]
    ]
    table(("pool", "nodes", "has", "others use", "jobs hold"), rows)
    say(f"as of {moment(found['decided_at'])}")


def _amounts(amounts: dict[str, Any]) -> str:
    gpus = f", {amounts['gpu']} GPU" if amounts["gpu"] else ""
    return f"{amounts['cpu']:g} cores, {size(amounts['memory'])}{gpus}"
