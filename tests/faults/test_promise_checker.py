"""The checker of the campaign finds what is broken: each promise is broken here by hand, one at a time."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from backup_platform import Platform, databases, filled, prepare_template, settings_of
from campaign.leaks import AT_ONCE, secrets_in
from campaign.promises import at_rest, broken
from campaign.seen import Hold, Seen
from campaign.stack import Stack
from databases import create
from sqlalchemy import make_url, text

from learnloop.database import engine
from learnloop.jobs.checksums import write_manifest

ROWS = """
UPDATE datasets SET head_id = (SELECT max(id) FROM dataset_versions);
INSERT INTO batches (id, dataset_id, name, tree, samples, provenance, owner)
SELECT 1, 1, 'b', tree, 3, '{}', 'ada' FROM dataset_versions;
INSERT INTO annotation_tasks (id, dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
SELECT n, 1, 1, 'label', 's' || n, 'x', '0', '{}', '{}', 'confirmed', 'ada' FROM generate_series(1, 2) AS n;
INSERT INTO annotations (id, dataset_id, task_id, label, comment, outcome, outcome_reason, owner)
SELECT id, 1, id, 'dark', '', 'confirmed', '', 'ann' FROM annotation_tasks;
INSERT INTO confirmed_annotations (id, dataset_id, batch_id, annotation_id, sample_id, label, confirmed_by, number, owner)
SELECT id, 1, 1, id, sample_id, 'dark', 'one', id, 'ann' FROM annotation_tasks;
INSERT INTO rounds (id, dataset_id, number, state, model_name, model_version, version_id, metrics, reason, owner)
SELECT n, 1, n, 'accepted', 'lamps', n + 1, (SELECT max(id) FROM dataset_versions), '{}', '', 'ada'
FROM generate_series(0, 1) AS n;
INSERT INTO annotation_tasks (id, dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
VALUES (3, 1, 1, 'label', 's3', 'x', '0', '{}', '{}', 'open', 'ada');
INSERT INTO workspaces (dataset_id, base_id, name, path, writable, bytes, state, owner)
SELECT 1, max(id), 'mine', '{home}/namespaces/data/ann/workspaces/mine', true, 0, 'ready', 'ann' FROM dataset_versions;
INSERT INTO deployments (dataset_id, model_name, alias, model_version, generation, canary_percent, owner)
VALUES (1, 'lamps', 'realtime', 2, 1, 0, 'ada');
"""
MODELS = """
CREATE TABLE model_version_tags (name text, version int, key text, value text);
INSERT INTO model_version_tags VALUES ('lamps', 1, 'idempotency_key', 'a'), ('lamps', 2, 'idempotency_key', 'b');
DELETE FROM model_versions;
INSERT INTO model_versions VALUES ('lamps', 1, '{models}/lamps/1', NULL), ('lamps', 2, '{models}/lamps/1', NULL);
"""


NO = (422, {"detail": "that cannot be"})


SECRET = "kept-by-nobody-4711"


class Airflow(BaseHTTPRequestHandler):
    """What the checker asks over HTTP: the runs there are, and our API, with a token and without."""

    runs: tuple[str, ...] = ("round-lamps-1",)
    without_token = 401
    answers: ClassVar[dict[str, tuple[int, object]]] = {
        "GET /workspaces": (200, {"items": []}),
        "GET /workspaces/mine/changes": (404, {"detail": "there is none"}),
        "POST /snapshots": NO,
        "POST /workspaces": (200, {"problem": {"status": 404, "detail": "there is no such version"}}),
        "POST /datasets/lamps/lock": NO,
        "POST /tasks/3/claim": (200, {"id": 3}),
        "POST /tasks/3/annotation": NO,
        "DELETE /tasks/3/claim": (200, {"released": True}),
    }
    taken: Callable[[str, str], None] | None = None
    """What becomes of what is posted: its path, and its body."""

    def do_GET(self) -> None:
        if self.path.startswith("/api/v2/"):
            self._answer(200, {"dag_runs": [{"dag_run_id": run, "dag_id": "ended"} for run in self.runs]})
        elif "Authorization" not in self.headers:
            self._answer(self.without_token, {})
        else:
            path = self.path.removeprefix("/learnloop/api/v1")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            if type(self).taken is not None:
                type(self).taken(path, body)
            self._answer(*self.answers[f"{self.command} {path}"])

    do_POST = do_DELETE = do_GET

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *given: object) -> None:
        """Not to the test's output."""


@dataclass
class Sound:
    """A platform on which nothing is broken, what was seen of it, and how to have it so again."""

    stack: Stack
    platform: Platform
    airflow: type[Airflow]
    pristine: Path
    postgres: str

    def again(self) -> Seen:
        for url in (self.platform.url, self.platform.settings.mlflow_url):
            name = str(make_url(url).database)
            create(self.postgres, name, f"{name}_sound")
        shutil.rmtree(self.stack.home)
        shutil.copytree(self.pristine, self.stack.home)
        for name in ("runs", "without_token", "answers", "taken"):
            setattr(self.airflow, name, getattr(Airflow, name))
        return Seen(accepted={(1, "ann"): "dark", (2, "ann"): "dark"})


@pytest.fixture
def sound(postgres: str, tmp_path: Path) -> Iterator[Sound]:
    prepare_template(postgres)
    home = tmp_path / "home"
    home.mkdir()
    handler = type("Handler", (Airflow,), {})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with databases(postgres, migrated=True, models=home / "models") as urls:
        platform = filled(settings_of(home, urls, str(tmp_path / "second"), None), tmp_path / "lamps")
        run(urls["learnloop"], ROWS.replace("{home}", str(home)))
        (home / "namespaces" / "data" / "ann" / "workspaces" / "mine").mkdir(parents=True)
        (home / "logs" / "of-a-run").mkdir(parents=True)
        (home / "logs" / "of-a-run" / "attempt=1.log").write_text("nothing of note\n")
        run(urls["mlflow"], MODELS.format(models=platform.settings.models))
        write_manifest(platform.settings.models / "lamps" / "1")
        for kind in ("learnloop", "mlflow"):
            name = str(make_url(urls[kind]).database)
            create(postgres, f"{name}_sound", name)
        shutil.copytree(home, tmp_path / "pristine")
        stack = Stack(
            url=f"http://127.0.0.1:{server.server_port}",
            token="any",
            learnloop=urls["learnloop"].replace("+psycopg", ""),
            mlflow=urls["mlflow"].replace("+psycopg", ""),
            store=platform.settings.store,
            home=home,
            stranger="anybody's",
            secrets=(SECRET, "short"),
            logs=(home / "logs",),
        )
        yield Sound(stack, platform, handler, tmp_path / "pristine", postgres)
    server.shutdown()


def run(url: str, statements: str) -> None:
    with engine(url).begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(text(statement))
    engine(url).dispose()


def an_object(platform: Platform) -> Path:
    return platform.store.path_of(next(name for name in platform.store.names() if not name.endswith(".dir")))


def damage(platform: Platform) -> None:
    an_object(platform).chmod(0o644)
    an_object(platform).write_bytes(b"junk")


def sql(statements: str) -> Callable[[Platform, Seen, type[Airflow]], None]:
    return lambda platform, seen, airflow: run(platform.url, statements)


def merge_twice(platform: Platform, seen: Seen) -> None:
    """The first version, into two that are made of it."""
    run(
        platform.url,
        "INSERT INTO dataset_versions (dataset_id, name, major, minor, tree, files, bytes, message, provenance, owner)"
        " SELECT dataset_id, 'twice_' || n, 7, n, tree, files, bytes, '', '{}', owner"
        " FROM (SELECT * FROM dataset_versions ORDER BY id LIMIT 1) AS first, generate_series(1, 2) AS n;"
        "INSERT INTO dataset_version_parents SELECT id, (SELECT min(id) FROM dataset_versions), 1"
        " FROM dataset_versions WHERE major = 7",
    )
    with engine(platform.url).begin() as connection:
        seen.merged.add(str(connection.scalar(text("SELECT name FROM dataset_versions ORDER BY id LIMIT 1"))))
    engine(platform.url).dispose()


def answers(asked: str, status: int, content: object) -> Callable[[Platform, Seen, type[Airflow]], None]:
    return lambda platform, seen, airflow: setattr(airflow, "answers", {**Airflow.answers, asked: (status, content)})


def logged(words: str) -> Callable[[Platform, Seen, type[Airflow]], object]:
    """Over the end of what is read at once."""
    text = "x" * (AT_ONCE - 5) + words + "\n"
    return lambda platform, seen, airflow: (platform.settings.home / "logs" / "server.log").write_text(text)


def stored_all_the_same(platform: Platform, seen: Seen, airflow: type[Airflow]) -> None:
    """What is refused, is stored."""

    def taken(path: str, body: str) -> None:
        purpose = json.loads(body or "{}").get("purpose")
        if purpose:
            run(
                platform.url,
                "INSERT INTO locks (dataset_id, mode, token, expires_at, purpose, owner)"
                f" VALUES (1, 'write', 9, now() - interval '1 hour', '{purpose}', 'ada')",
            )

    airflow.taken = staticmethod(taken)


def answered_all_the_same(platform: Platform, seen: Seen, airflow: type[Airflow]) -> None:
    """An answer with an unknown label is refused, and counts as one with another."""

    def taken(path: str, body: str) -> None:
        if path.endswith("/annotation"):
            run(
                platform.url,
                "INSERT INTO annotations (id, dataset_id, task_id, label, comment, outcome, outcome_reason, owner)"
                " VALUES (9, 1, 3, 'dark', '', 'confirmed', '', 'ada')",
            )

    airflow.taken = staticmethod(taken)


def folder_of(*parts: str) -> Callable[[Platform, Seen, type[Airflow]], object]:
    return lambda platform, seen, airflow: platform.settings.home.joinpath("namespaces", *parts).mkdir(parents=True)


def models(statements: str) -> Callable[[Platform, Seen, type[Airflow]], None]:
    return lambda platform, seen, airflow: run(platform.settings.mlflow_url, statements)


BREAKS: dict[str, tuple[str, Callable[[Platform, Seen, type[Airflow]], object]]] = {
    "lost answer": ("acknowledged and are not stored", sql("UPDATE annotations SET label = 'bright' WHERE id = 1")),
    "unknown answer": ("nobody was told of", lambda p, seen, a: seen.accepted.pop((2, "ann"))),
    "counted wrongly": ("not numbered from 1 on", sql("UPDATE confirmed_annotations SET number = 7 WHERE id = 2")),
    "confirmed twice": ("confirmed twice", sql("UPDATE confirmed_annotations SET sample_id = 's1'")),
    "two holders": (
        "was held by ann and bo at once",
        lambda p, seen, a: seen.holds.extend([Hold(1, "ann", 0, 5), Hold(1, "bo", 4, 6)]),
    ),
    "seen by somebody": ("a request failed", lambda p, seen, a: seen.faults.append("a request failed")),
    "one model of two rounds": ("is the model of 2 rounds", sql("UPDATE rounds SET model_version = 1")),
    "a round is missing": ("not one after the other", sql("UPDATE rounds SET number = 2 WHERE number = 1")),
    "two models of one training": ("one training made 2 versions", models("UPDATE model_version_tags SET value = 'a'")),
    "no such model": ("is not registered", models("DELETE FROM model_versions WHERE version = 2")),
    "two runs": ("there are 2 runs", lambda p, s, airflow: setattr(airflow, "runs", ("round-lamps-1",) * 2)),
    "no run": ("has no run", lambda p, s, airflow: setattr(airflow, "runs", ())),
    "a round is open": ("is still running", sql("UPDATE rounds SET state = 'running' WHERE number = 1")),
    "damaged object": ("is not whole", lambda platform, s, a: damage(platform)),
    "lost object": ("are not in the store", lambda platform, s, a: an_object(platform).unlink()),
    "damaged model": (
        "model.skops of lamps version 1 is not whole",
        lambda platform, s, a: (platform.settings.models / "lamps" / "1" / "model.skops").write_bytes(b"junk"),
    ),
    "lost model": (
        "has no files at",
        lambda platform, s, a: (platform.settings.models / "lamps" / "1" / "manifest.json").unlink(),
    ),
    "a rejected model serves": (
        "which the gate rejected",
        sql("UPDATE rounds SET state = 'rejected' WHERE number = 1"),
    ),
    "a label is not merged": (
        "are not in its head",
        sql("INSERT INTO round_annotations (confirmed_id, round_id) VALUES (1, 1)"),
    ),
    "an open door": ("without a token is answered with 200", lambda p, s, a: setattr(a, "without_token", 200)),
    "a merge is lost": ("are not in the head", lambda p, seen, a: seen.written.update({("lamps", "note.txt"): "0"})),
    "written past an expiry": (
        "dataset.yaml was written past the expiry",
        lambda p, seen, a: seen.refused.add(("lamps", "dataset.yaml")),
    ),
    "merged twice": ("was merged 2 times", lambda platform, seen, a: merge_twice(platform, seen)),
    "another's workspaces are listed": (
        "is shown /anns",
        answers("GET /workspaces", 200, {"items": [{"path": "/anns"}]}),
    ),
    "another's workspace is read": (
        "reads mine of ann",
        answers("GET /workspaces/mine/changes", 200, {"added": []}),
    ),
    "another's folder is read": (
        "of ann was read into a version",
        answers("POST /snapshots", 200, {"result": {"name": "lamps_1_1"}}),
    ),
    "bad input is taken": (
        "bad input to /datasets/lamps/lock was taken: 200",
        answers("POST /datasets/lamps/lock", 200, {"token": 7}),
    ),
    "bad input is refused without a word": (
        "refused with 422 and no word",
        answers("POST /tasks/3/annotation", 422, {}),
    ),
    "bad input is stored": ("bad input was refused, and is in the table locks", stored_all_the_same),
    "an unknown label counts": ("an unknown label changed the rows of task 3", answered_all_the_same),
    "a secret is logged": ("a secret is in the log", logged(SECRET)),
    "a secret is in clear": (
        "a secret is in clear in the table datasets",
        sql(f"UPDATE datasets SET owner = 'ada {SECRET}'"),
    ),
    "a reservation is left": (
        "1 reservations of jobs are left",
        sql(
            "INSERT INTO reservations (runner, key, dag_id, run_id, task_id, map_index, try_number, cpu, memory, gpu,"
            " priority, seconds, state, reason, seen_at, admitted_at, owner)"
            " VALUES ('local', 'k', 'd', 'r', 't', -1, 1, 1, 1, 0, 0, 1, 'begun', '', now(), now(), 'ada')"
        ),
    ),
    "a workspace is left half made": (
        "1 workspaces are left half made",
        sql("UPDATE workspaces SET state = 'creating'"),
    ),
    "a run's workspace is left": ("1 workspaces of runs are left", sql("UPDATE workspaces SET key = 'run'")),
    "a workspace's files are left": (
        "workspaces/.theirs.1 of a workspace is left",
        folder_of("data", "bo", "workspaces", ".theirs.1"),
    ),
    "a workspace has no files": (
        "a workspace has no folder",
        lambda platform, s, a: (platform.settings.home / "namespaces/data/ann/workspaces/mine").rmdir(),
    ),
    "a mount is left": ("mounts/bo/digits is left", folder_of("mounts", "bo", "digits")),
    "a task is held for ever": (
        "1 tasks are held by a lease that lapsed",
        sql(
            "UPDATE annotation_tasks SET state = 'claimed', claimed_by = 'ann',"
            " lease_expires_at = now() - interval '1 hour' WHERE id = 3"
        ),
    ),
    "a lock is left": (
        "1 locks are held",
        sql(
            "INSERT INTO locks (dataset_id, mode, token, expires_at, purpose, owner)"
            " VALUES (1, 'write', 1, now() + interval '1 hour', '', 'ada')"
        ),
    ),
}


TAKEN_BACK = (
    "a round is open", "a reservation is left", "a workspace is left half made", "a run's workspace is left",
    "a task is held for ever",
)  # fmt: skip
"""What the checker is to wait for, since it goes by itself."""


@pytest.mark.timeout(1800)
def test_each_broken_promise_is_found_and_a_sound_platform_has_none(sound: Sound) -> None:
    assert broken(sound.stack, sound.again(), calm=True) == []
    sound.airflow.without_token = 504  # who is not answered has found no open door
    assert broken(sound.stack, Seen(), calm=False) == []
    seen = sound.again()
    assert broken(sound.stack, seen, calm=True) == []
    assert (seen.did["bad input"], seen.did["tried another's workspace"]) == (4, 1)
    for name, (words, breaks) in BREAKS.items():
        seen = sound.again()
        breaks(sound.platform, seen, sound.airflow)
        found = broken(sound.stack, seen, calm=True)
        assert any(words in problem for problem in found), f"{name}: {found}"
        assert at_rest(sound.stack) == (name not in TAKEN_BACK), name


def test_a_folder_of_secrets_is_read_for_its_words(tmp_path: Path) -> None:
    key = "{0}BEGIN KEY{0}\nMIGHAgEAMBMGByqGSM49\n{0}END KEY{0}\n".format("-" * 5)
    files = {
        "password-a": "a-word-of-its-own\n", "users.json": '{"ann": "the-word-of-ann", "role": "admin"}', "tls_key.pem": key,
        "address": "postgresql://a:secret@db/a", "roles.sql": "CREATE ROLE a;\nCREATE ROLE b;\n",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert set(secrets_in(tmp_path)) == {"a-word-of-its-own", "the-word-of-ann", "admin", "MIGHAgEAMBMGByqGSM49"}
