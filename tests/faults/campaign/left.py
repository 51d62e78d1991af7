"""5: what is left over when no run goes."""

from __future__ import annotations

import os
from typing import Any

import psutil
import psycopg

from .stack import Stack


def left_over(db: psycopg.Connection[Any], stack: Stack) -> list[str]:
    """No job's process, nothing claimed for ever."""
    problems = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        try:
            environment = process.environ()
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if str(stack.inside or stack.home) in environment.get("RESULTS_DIR", "") and process.pid != os.getpid():
            problems.append(f"process {process.pid} of a job is left: {process.info['cmdline']}")
    locks = db.execute("SELECT count(*) FROM locks WHERE expires_at > now()").fetchone()
    if locks and locks[0]:
        problems.append(f"{locks[0]} locks are held though no run goes")
    return [*problems, *not_taken_back(db), *_folders(db, stack)]


def not_taken_back(db: psycopg.Connection[Any]) -> list[str]:
    """Rows that somebody who died left, which maintenance takes back within minutes. Leases have a clock of their own: one
    is left when it lapsed so long ago that maintenance has been there twice.
    """
    counted = {
        "reservations of jobs are left": "SELECT count(*) FROM reservations WHERE state <> 'released'",
        "workspaces are left half made or half removed": "SELECT count(*) FROM workspaces WHERE state <> 'ready'",
        "workspaces of runs are left": "SELECT count(*) FROM workspaces WHERE state = 'ready' AND key IS NOT NULL",
        "tasks are held by a lease that lapsed long ago": "SELECT count(*) FROM annotation_tasks"
        " WHERE state = 'claimed' AND lease_expires_at < now() - interval '11 minutes'",
    }
    found = []
    for what, asked in counted.items():
        row = db.execute(asked).fetchone()
        if row and row[0]:
            found.append(f"{row[0]} {what}")
    return found


def _folders(db: psycopg.Connection[Any], stack: Stack) -> list[str]:
    """Folders of workspaces that no row names, rows of which there is no folder, and mounts, which end with their runs."""
    named = {
        stack.seen_from_here(path)
        for (path,) in db.execute("SELECT path FROM workspaces WHERE state = 'ready'").fetchall()
    }
    there = set(stack.namespaces.glob("data/*/workspaces/*"))
    return [
        *(f"the folder {path} of a workspace is left" for path in sorted(there - named)),
        *(f"a workspace has no folder {path}" for path in sorted(named) if not path.is_dir()),
        *(f"the mount {path} is left" for path in sorted(stack.namespaces.glob("mounts/*/*"))),
    ]
