"""The checker of the campaign finds what is broken: each promise is broken here by hand, one at a time."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from backup_platform import Platform, databases, filled, prepare_template, settings_of
from campaign.promises import broken
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
INSERT INTO deployments (dataset_id, model_name, alias, model_version, generation, canary_percent, owner)
VALUES (1, 'lamps', 'realtime', 2, 1, 0, 'ada');
"""
MODELS = """
CREATE TABLE model_version_tags (name text, version int, key text, value text);
INSERT INTO model_version_tags VALUES ('lamps', 1, 'idempotency_key', 'a'), ('lamps', 2, 'idempotency_key', 'b');
DELETE FROM model_versions;
INSERT INTO model_versions VALUES ('lamps', 1, '{models}/lamps/1', NULL), ('lamps', 2, '{models}/lamps/1', NULL);
"""


class Airflow(BaseHTTPRequestHandler):
    """What the checker asks over HTTP: the runs there are, and our API, to which it has no token."""

    runs: tuple[str, ...] = ("round-lamps-1",)
    without_token = 401

    def do_GET(self) -> None:
        of_airflow = self.path.startswith("/api/v2/")
        body = json.dumps({"dag_runs": [{"dag_run_id": run} for run in self.runs]}).encode()
        self.send_response(200 if of_airflow else self.without_token)
        self.end_headers()
        self.wfile.write(body)

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
        self.airflow.runs, self.airflow.without_token = Airflow.runs, Airflow.without_token
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
        run(urls["learnloop"], ROWS)
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
    "a lock is left": (
        "1 locks are held",
        sql(
            "INSERT INTO locks (dataset_id, mode, token, expires_at, purpose, owner)"
            " VALUES (1, 'write', 1, now() + interval '1 hour', '', 'ada')"
        ),
    ),
}


@pytest.mark.timeout(600)
def test_each_broken_promise_is_found_and_a_sound_platform_has_none(sound: Sound) -> None:
    assert broken(sound.stack, sound.again(), calm=True) == []
    sound.airflow.without_token = 504  # who is not answered has found no open door
    assert broken(sound.stack, Seen(), calm=False) == []
    for name, (words, breaks) in BREAKS.items():
        seen = sound.again()
        breaks(sound.platform, seen, sound.airflow)
        found = broken(sound.stack, seen, calm=True)
        assert any(words in problem for problem in found), f"{name}: {found}"
