"""Models' versions as lists, and the report of one, over the API, as a client and a terminal fetch it."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import new_database
from platform_data import DATASET, register_model
from test_data_cli import run  # noqa: F401 - fixture

from learnloop import settings
from learnloop.models import registry


@pytest.fixture
def model(app, monkeypatch: pytest.MonkeyPatch, postgres: str, tmp_path: Path):
    """Version 1 has a report, version 2 was registered without."""
    with new_database(postgres, "template1") as url:
        monkeypatch.setenv("LEARNLOOP_MLFLOW_URL", url)
        settings.settings.cache_clear()
        registry.prepare()
        register_model(tmp_path / "models", "one")
        folder = tmp_path / "trained" / "one"
        options = {"models_root": tmp_path / "models", "tags": {}, "metrics": {}, "idempotency_key": "two"}
        registry.register(DATASET, folder, **options)
        yield DATASET
    settings.settings.cache_clear()


def test_versions_and_names_come_in_pages(model, as_user) -> None:
    viewer = as_user("vic", "viewer")
    first = viewer.get(f"/models/{model}/versions", params={"limit": 1}).json()
    assert [item["version"] for item in first["items"]] == [2]
    last = viewer.get(f"/models/{model}/versions", params={"limit": 1, "cursor": first["next"]}).json()
    assert ([item["version"] for item in last["items"]], last["next"]) == ([1], None)
    assert viewer.get("/models", params={"limit": 1}).json() == {"items": [{"name": model}], "next": None}


def test_a_cursor_that_no_list_of_versions_gave(model, as_user) -> None:
    viewer = as_user("vic", "viewer")
    for cursor in ("bGFtcHM", "LTE", "OTk5OTk5OTk5OTk5", "w7w", "A"):
        answer = viewer.get(f"/models/{model}/versions", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["detail"]) == (422, f"cursor '{cursor}' is not one that a list gave")


def test_a_report_is_a_page_that_loads_nothing(model, as_user) -> None:
    answer = as_user("vic", "viewer").get(f"/models/{model}/versions/1/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "<title>A model</title>" in answer.text


@pytest.mark.parametrize(
    ("version", "problem"),
    [(2, "version 2 of model 'lamps' has no report.html: it was registered without"), (3, "there is no version 3")],
)
def test_what_is_not_there(model, as_user, version: int, problem: str) -> None:
    answer = as_user("vic", "viewer").get(f"/models/{model}/versions/{version}/report")
    assert (answer.status_code, problem in answer.json()["detail"]) == (404, True)


def test_nobody_reads_it_without_a_role(model, as_user) -> None:
    assert as_user("nobody").get(f"/models/{model}/versions/1/report").status_code == 403


def test_a_terminal_writes_it_to_a_file(run, model, tmp_path: Path) -> None:  # noqa: F811 - fixture
    target = tmp_path / "report.html"
    said = run("sam", "model", "report", model, "1", target)
    assert "the report of version 1 of lamps" in said.output.replace("\n", " ")
    assert "<title>A model</title>" in target.read_text()
    refused = run("sam", "model", "report", model, "2", tmp_path / "none.html", code=1)
    assert "it was registered without" in refused.output.replace("\n", " ")
    assert not (tmp_path / "none.html").exists()


def test_a_version_that_somebody_keeps_says_who_and_why(model, as_user) -> None:
    scientist, address = as_user("sam", "scientist"), f"/models/{model}/versions/2"
    kept = scientist.put(f"{address}/keep", json={"reason": "for the paper"})
    assert (kept.status_code, kept.json()["tags"]["keep"]) == (200, "sam: for the paper")
    assert scientist.get(address).json()["tags"]["keep"] == "sam: for the paper"
    for _ in range(2):  # again, it changes nothing
        assert "keep" not in scientist.delete(f"{address}/keep").json()["tags"]
    assert scientist.put(f"/models/{model}/versions/3/keep", json={}).status_code == 404
    assert as_user("vic", "viewer").put(f"{address}/keep", json={}).status_code == 403


def test_a_terminal_keeps_a_version(run, model) -> None:  # noqa: F811 - fixture
    assert f"version 2 of {model} stays" in run("sam", "model", "keep", model, "2", "-m", "for the paper").output
    assert registry.get_version(model, 2).tags["keep"] == "sam: for the paper"
    assert "goes when nothing else needs it" in run("sam", "model", "keep", model, "2", "--no-longer").output
    assert "keep" not in registry.get_version(model, 2).tags
