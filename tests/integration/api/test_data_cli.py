"""The command line over the real API on a real socket: a dataset's life as a person would type it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_folders import write_dataset, write_images
from fastapi import FastAPI
from test_client import serving
from typer.testing import CliRunner, Result

from learnloop import settings
from learnloop.cli import app as cli
from learnloop.client import API, LearnloopClient
from learnloop.commands import common
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version
from learnloop.errors import NotAuthenticated
from learnloop.permissions import Principal
from learnloop_airflow.api import auth

ROLES = {"sam": "scientist", "eng": "engineer", "bo": "scientist", "vic": "viewer"}

Run = Callable[..., Result]


@pytest.fixture
def run(app, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """`run("sam", "dataset", "list")`: what the person's terminal shows."""

    def who(request: auth.Request) -> Principal:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name not in ROLES:
            raise NotAuthenticated("Not authenticated")
        return Principal(name, frozenset({ROLES[name]}))

    app.dependency_overrides[auth.principal] = who
    monkeypatch.setenv("LEARNLOOP_ALLOWED_ROOTS", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "state"))
    host = FastAPI()
    host.mount(API, app)
    with serving(host) as url:
        monkeypatch.setenv("LEARNLOOP_API_URL", url)
        settings.settings.cache_clear()

        def command(person: str, *words: str, code: int = 0) -> Result:
            done = CliRunner().invoke(cli, [str(word) for word in words], env={"LEARNLOOP_TOKEN": person})
            assert done.exit_code == code, (words, done.output, done.exception)
            return done

        yield command


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def first(run: Run, db, home: Path, tmp_path: Path) -> str:
    """A preprocessed head, so that features can be merged."""
    folder = write_dataset(home / "lamps", samples=20)
    assert "lamps_v1.0: 22 files" in run("sam", "dataset", "snapshot", folder, "-m", "the first").output
    head = preprocess(db, Store(tmp_path / "state" / "store"), get_version(db, "lamps_v1.0"), owner="sam")
    db.commit()
    return head.name


def change_label(folder: Path, row: int) -> None:
    path = folder / "annotations.parquet"
    table = pq.read_table(path)
    labels = table["label"].to_pylist()
    labels[row] = "bright" if labels[row] == "dark" else "dark"
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, table.schema.field("label"), [labels]), path)


def test_versions_are_made_listed_shown_compared_and_restored(run: Run, first: str, home: Path) -> None:
    folder = home / "lamps"
    change_label(folder, 3)
    write_images(folder / "images", ["late"], [40])
    made = json.loads(run("sam", "dataset", "snapshot", folder, "--json").stdout)
    assert made["name"] == "lamps_v1.2"
    assert "lamps" in run("vic", "dataset", "list").output
    listed = run("vic", "dataset", "list", "lamps").output
    assert all(name in listed for name in ("lamps_v1.0", "lamps_v1.1", "lamps_v1.2"))
    assert "the first" in run("vic", "dataset", "show", "lamps_v1.0").output
    assert "lamps_v1.0" in run("vic", "dataset", "lineage", "lamps_v1.2").output
    compared = run("vic", "dataset", "diff", "lamps_v1.0", "lamps_v1.2").output
    assert "images/late.png" in compared
    assert "s003.label: bright -> dark" in compared
    target = home / "out"
    run("sam", "dataset", "restore", "lamps_v1.0", target)
    assert len([path for path in target.rglob("*") if path.is_file()]) == 22
    again = run("sam", "dataset", "restore", "lamps_v1.0", target, code=1)
    assert "is not empty" in again.stderr
    assert "lamps_v1.3" in run("sam", "dataset", "revert", "lamps_v1.0").output


def test_a_workspace_that_expired_is_listed_so_with_the_time_at_which_it_goes(run: Run, first: str) -> None:
    run("sam", "dataset", "workspace", "create", first, "stays")
    run("sam", "dataset", "workspace", "create", first, "short", "--days", "0.000001")

    def workspaces() -> dict[str, dict[str, str]]:
        return {one["name"]: one for one in json.loads(run("sam", "dataset", "workspace", "list", "--json").output)}

    while datetime.now(UTC) < datetime.fromisoformat(workspaces()["short"]["expires_at"]):
        pass  # a tenth of a second
    listed = workspaces()
    assert (listed["stays"]["state"], listed["stays"]["removed_at"]) == ("ready", None)
    assert listed["short"]["state"] == "expired"
    left = datetime.fromisoformat(listed["short"]["removed_at"]) - datetime.fromisoformat(listed["short"]["expires_at"])
    assert left == timedelta(days=7)
    shown = run("sam", "dataset", "workspace", "list").output
    assert "expired" in shown
    assert "removed" in shown


def test_two_people_change_one_label_and_a_strategy_decides(run: Run, first: str) -> None:
    paths = {}
    for person, row in (("sam", 0), ("bo", 0)):
        paths[person] = Path(run(person, "dataset", "workspace", "create", first, "mine").stdout.strip())
        change_label(paths[person], row)
    change_label(paths["bo"], 1)
    pq.write_table(pq.read_table(paths["bo"] / "annotations.parquet"), paths["bo"] / "annotations.parquet")
    assert "annotations.parquet" in run("sam", "dataset", "workspace", "changes", "mine").output
    mine = run("sam", "dataset", "workspace", "commit", "mine", "-m", "relabelled").output.split(":")[0]
    assert mine.startswith(f"{first}_sam_")
    assert "merged: the head is lamps_v1.2" in run("sam", "dataset", "merge", mine).output
    theirs = run("bo", "dataset", "workspace", "commit", "mine").output.split(":")[0]
    run("sam", "dataset", "show", theirs, code=1)  # it is bo's alone
    assert "merged" in run("bo", "dataset", "merge", theirs, "--strategy", "theirs").output
    assert run("bo", "dataset", "workspace", "discard", "mine").output == "discarded\n"
    assert not paths["bo"].exists()
    assert paths["sam"].exists()


def test_a_conflict_is_shown_on_its_page_and_answered_one_by_one(run: Run, first: str, app) -> None:
    names = []
    for person, label in (("sam", "bright"), ("bo", "dark")):
        path = Path(run(person, "dataset", "workspace", "create", first, "mine").stdout.strip()) / "annotations.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        rows[5]["label"] = None if label == "bright" else "dark"
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
        names.append(run(person, "dataset", "workspace", "commit", "mine").output.split(":")[0])
    run("sam", "dataset", "merge", names[0])
    merge = run("bo", "dataset", "merge", names[1], code=2).output.rsplit("conflicts ", 1)[1].strip(" `\n")
    listed = json.loads(run("bo", "dataset", "conflicts", merge, "--json").stdout)
    (conflict,) = [one for one in listed["conflicts"] if one["answer"] is None]
    with LearnloopClient(os.environ["LEARNLOOP_API_URL"], "bo") as api:
        shown = api._checked("GET", f"{API}/merges/{merge}/view", retry=True)
        assert conflict["key"] in shown.text
        assert "'none'" in shown.headers["content-security-policy"]
        done = api.answer_merge(int(merge), {conflict["id"]: "theirs"})
        assert done["state"] == "merged"
        assert "Merged: the head is" in api._checked("GET", f"{API}/merges/{merge}/view", retry=True).text


def test_a_lock_is_refused_with_its_holder_and_waited_for(run: Run, first: str) -> None:
    token = json.loads(run("sam", "dataset", "lock", "lamps", "--purpose", "spring", "--json").stdout)["token"]
    refused = run("bo", "dataset", "lock", "lamps", code=1)
    assert "locked for writing by sam (spring)" in refused.stderr
    assert "sam" in run("vic", "dataset", "locks", "lamps").output
    assert "is sam's" in run("bo", "dataset", "unlock", "lamps", token, code=1).stderr
    waiting = subprocess.Popen(
        [sys.executable, "-m", "learnloop.cli", "dataset", "lock", "lamps", "--wait"],
        env={**os.environ, "LEARNLOOP_TOKEN": "bo"},
        stdout=subprocess.PIPE,
        text=True,
    )
    while "waits (1)" not in run("vic", "dataset", "locks", "lamps").output:
        assert waiting.poll() is None
    run("sam", "dataset", "unlock", "lamps", token)
    output, _ = waiting.communicate(timeout=100)
    assert "place 1 in line; sam holds the lock until" in output
    assert "token" in output


def test_the_store_is_checked_collected_pushed_and_repaired(run: Run, first: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "remote").mkdir()
    assert "pushed" in run("eng", "dataset", "push").output
    store = Store(tmp_path / "state" / "store")
    damaged = next(path for path in (store.root / "files/md5").rglob("*") if path.is_file() and path.suffix != ".dir")
    damaged.chmod(0o644)
    data = damaged.read_bytes()
    damaged.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    found = run("eng", "dataset", "verify", code=2).output
    assert damaged.parent.name + damaged.name in found
    assert "repaired: 1, not repaired: 0" in run("eng", "dataset", "verify", "--repair").output
    assert "0 damaged" in run("eng", "dataset", "verify").output
    assert "would be deleted" in run("eng", "dataset", "gc", "--dry-run").output
    at_remote = sum(path.is_file() for path in (tmp_path / "state" / "remote" / "files").rglob("*"))
    said = run("eng", "dataset", "gc", "--remote", "--dry-run").output
    assert f"0 objects (0 B) would be deleted; {at_remote} kept" in said
    assert "0 objects fetched" in run("eng", "dataset", "fetch").output
    assert "dataset lamps" in run("vic", "dataset", "space").output
    assert "may not storage:write" in run("sam", "dataset", "gc", code=1).stderr


def test_a_version_is_deleted_once_nothing_refers_to_it(run: Run, first: str) -> None:
    path = Path(run("sam", "dataset", "workspace", "create", first, "mine").stdout.strip())
    change_label(path, 0)
    name = run("sam", "dataset", "workspace", "commit", "mine").output.split(":")[0]
    assert "cannot be deleted" in run("sam", "dataset", "delete", name, "--dry-run").output
    assert "workspace" in run("sam", "dataset", "delete", name, code=1).stderr
    run("sam", "dataset", "workspace", "discard", "mine")
    assert "would be deleted" in run("sam", "dataset", "delete", name, "--dry-run").output
    assert f"{name} deleted" in run("sam", "dataset", "delete", name).output
    assert "may not dataset:delete" in run("sam", "dataset", "delete", "lamps_v1.0", code=1).stderr
    assert "there is no dataset version" in run("sam", "dataset", "show", name, code=1).stderr


@pytest.mark.parametrize("place", ["outside", "home/../outside", "state/secrets"])
def test_paths_outside_the_allowed_roots_are_refused(
    run: Run, first: str, home: Path, tmp_path: Path, place: str
) -> None:
    write_dataset(tmp_path / "outside")
    refused = run("sam", "dataset", "restore", first, tmp_path / place, code=1).stderr
    assert "outside the allowed roots" in refused.replace("\n", " ")
    (home / "linked").symlink_to(tmp_path / "outside")
    assert "outside the allowed roots" in run("sam", "dataset", "snapshot", home / "linked", code=1).stderr.replace(
        "\n", " "
    )
    (home / "lamps" / "images" / "sly.png").symlink_to(tmp_path / "outside" / "dataset.yaml")
    assert "sly.png" in run("sam", "dataset", "snapshot", home / "lamps", code=1).stderr.replace("\n", "")


def test_nobody_has_anothers_namespace_read(run: Run, first: str, tmp_path: Path) -> None:
    mine = Path(run("sam", "dataset", "workspace", "create", first, "mine").stdout.strip())
    assert "another person's files" in run("bo", "dataset", "snapshot", mine, code=1).stderr.replace("\n", " ")
    into = mine.parent / "out"
    assert "another person's files" in run("bo", "dataset", "restore", first, into, code=1).stderr.replace("\n", " ")
    assert not into.exists()
    assert "lamps_v1." in run("sam", "dataset", "snapshot", mine).output


def test_the_token_is_kept_for_its_owners_eyes_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    common.write_tokens({"http://here": "word"})
    assert stat.S_IMODE(common.credentials_file().stat().st_mode) == 0o600
    assert common.read_tokens() == {"http://here": "word"}


def test_nobody_logged_in_is_told_what_to_do(run: Run) -> None:
    assert "learnloop login" in run("", "dataset", "list", code=1).stderr
