"""Import and export over the real API on a real socket, as a person types it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session
from test_client import serving
from typer.testing import CliRunner, Result

from learnloop import settings
from learnloop.cli import app as cli
from learnloop.client import API, LearnloopClient
from learnloop.database import Batch, Dataset
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput, NotAuthenticated, NotFound, PermissionDenied, Unavailable
from learnloop.permissions import Principal
from learnloop_airflow.api import auth

ROLES = {"sam": "scientist", "ann": "annotator", "rob": "reviewer", "vic": "viewer"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def url(app, db: Session, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    def who(request: auth.Request) -> Principal:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name not in ROLES:
            raise NotAuthenticated("Not authenticated")
        return Principal(name, frozenset({ROLES[name]}))

    app.dependency_overrides[auth.principal] = who
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEARNLOOP_ALLOWED_ROOTS", str(home))
    settings.settings.cache_clear()
    store = Store(settings.settings().store)
    (home / "b").mkdir()
    for n in range(4):
        (home / "b" / f"s{n}.png").write_text(str(n))
    loop = {"classes": ["cat", "dog"], "policy": {"labels": 10}}
    dataset = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
    db.add(dataset)
    db.flush()
    tree = store.write_tree(store.add_folder(home / "b")[0])
    db.add(Batch(dataset_id=dataset.id, name="arrived", tree=tree, samples=4, owner="ada"))
    db.commit()
    host = FastAPI()
    host.mount(API, app)
    with serving(host) as url:
        monkeypatch.setenv("LEARNLOOP_API_URL", url)
        settings.settings.cache_clear()
        yield url


@pytest.fixture
def run(url: str) -> Callable[..., Result]:
    def command(person: str, *words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, [str(word) for word in words], env={"LEARNLOOP_TOKEN": person})
        assert done.exit_code == code, (words, done.output, done.exception)
        return done

    return command


def test_there_and_back_at_the_command_line(url: str, run, home: Path) -> None:
    (home / "t.csv").write_text("path,predicted_label,predicted_confidence\ns0.png,dog,0.9\ns1.png,cat,0.8\n")
    said = run("sam", "annotations", "import", "pets", home / "t.csv", "--batch", "arrived").output
    assert said.startswith("2 rows: 2 new tasks")
    again = run("sam", "annotations", "import", "pets", home / "t.csv", "--batch", "arrived", "--json")
    assert json.loads(again.stdout) == {
        "rows": 2,
        "created": 0,
        "updated": 0,
        "unchanged": 2,
        "left": 0,
        "left_rows": [],
    }
    (home.parent / "here.csv").write_text((home / "t.csv").read_text())  # where the server reads nothing
    words = ("annotations", "import", "pets", home.parent / "here.csv", "--batch", "arrived")
    assert "outside the allowed roots" in run("sam", *words, code=1).output
    assert run("sam", *words, "--upload").output.startswith("2 rows: 0 new tasks")
    with LearnloopClient(url, "ann") as annotator:
        while (task := annotator.claim("pets")) is not None:
            annotator.submit(task.id, task.prediction.label)
    for form, ending in (
        ("label-studio", "json"),
        ("label-studio-config", "xml"),
        ("csv", "csv"),
        ("parquet", "parquet"),
    ):
        target = home / f"out.{ending}"
        said = run("sam", "annotations", "export", "pets", "--format", form, "-o", target).output
        assert f"out.{ending}: " in said.replace("\n", "")
        assert target.stat().st_size > 0
    with (home / "out.csv").open(newline="") as file:
        assert [(row["path"], row["label"], row["annotator"]) for row in csv.DictReader(file)] == [
            ("s0.png", "dog", "ann"),
            ("s1.png", "cat", "ann"),
        ]
    assert len(json.loads((home / "out.json").read_text())) == 2
    assert sorted(path.name for path in home.iterdir()) == [
        "b",
        "out.csv",
        "out.json",
        "out.parquet",
        "out.xml",
        "t.csv",
    ]


def test_what_is_wrong_is_listed_and_nothing_is_imported(run, home: Path) -> None:
    (home / "t.csv").write_text("sample_id,priority\ns0,1\ns9,high\n")
    said = run("sam", "annotations", "import", "pets", home / "t.csv", "--batch", "arrived", code=1).output
    assert "line 3, sample_id: 's9' is not in batch arrived, which has s0, s1, s2" in said
    assert "line 3, priority: must be a whole number from -1000 to 99, not 'high'" in said
    (home / "t.csv").write_text("sample_id\ns0\n")
    assert "1 new tasks" in run("sam", "annotations", "import", "pets", home / "t.csv", "--batch", "arrived").output


def test_who_may_not_is_refused(url: str, home: Path) -> None:
    (home / "t.csv").write_text("sample_id\ns0\n")
    for name in ("ann", "vic", "rob"):
        with LearnloopClient(url, name) as api, pytest.raises(PermissionDenied, match="annotation:import"):
            api.import_tasks("pets", str(home / "t.csv"), "arrived")
        with LearnloopClient(url, name) as api, pytest.raises(PermissionDenied, match="annotation:import"):
            api.upload_tasks("pets", b"sample_id\ns0\n", "arrived", format="csv")
    for name in ("ann", "vic"):
        with LearnloopClient(url, name) as api, pytest.raises(PermissionDenied, match="annotation:export"):
            api.export_annotations("pets", home / "out.json")
    with LearnloopClient(url, "rob") as api:
        assert api.export_annotations("pets", home / "out.json") > 0


def test_files_of_the_platforms_or_nobodys_are_not_read(url: str, home: Path, tmp_path: Path) -> None:
    with LearnloopClient(url, "sam") as api:
        with pytest.raises(PermissionDenied, match="outside the allowed roots"):
            api.import_tasks("pets", "/etc/passwd", "arrived", format="csv")
        (tmp_path / "secret.csv").write_text("sample_id\ns0\n")
        (home / "link.csv").symlink_to(tmp_path / "secret.csv")
        with pytest.raises(PermissionDenied, match="outside the allowed roots"):
            api.import_tasks("pets", str(home / "link.csv"), "arrived")
        with pytest.raises(InvalidInput, match="is not a file"):
            api.import_tasks("pets", str(home / "none.csv"), "arrived")
        with pytest.raises(NotFound, match="no batch 'other'"):
            api.import_tasks("pets", str(home / "none.csv"), "other")


def test_an_export_that_fails_leaves_the_file_that_was_there(url: str, home: Path) -> None:
    target = home / "out.json"
    target.write_text("before")
    with LearnloopClient(url, "sam") as api, pytest.raises(NotFound, match="no dataset 'cats'"):
        api.export_annotations("cats", target)
    with LearnloopClient("http://127.0.0.1:9", "sam") as api, pytest.raises(Unavailable):
        api.export_annotations("pets", target)
    assert target.read_text() == "before"
    assert not list(home.glob(".*"))


def test_an_answer_can_bring_the_next_task(url: str, home: Path) -> None:
    (home / "t.csv").write_text("sample_id,priority\ns0,2\ns1,1\n")
    with LearnloopClient(url, "sam") as scientist:
        scientist.import_tasks("pets", str(home / "t.csv"), "arrived")
    with LearnloopClient(url, "ann") as ann:
        first = ann.claim("pets")
        second = ann.submit_and_claim(first.id, "cat", key="once")
        assert (first.sample_id, second.sample_id) == ("s0", "s1")
        assert ann.submit_and_claim(first.id, "cat", key="once").id == second.id
        assert ann.claim("pets").id == second.id
        with pytest.raises(InvalidInput, match="not a class"):
            ann.submit_and_claim(second.id, "cow")
        assert ann.submit_and_claim(second.id, "dog") is None
        assert ann.progress("pets").answered_by_me == 2
