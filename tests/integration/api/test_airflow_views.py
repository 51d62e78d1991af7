"""The views inside Airflow, on real PostgreSQL with something of everything. What only Airflow's database knows (whose a
token is, what runs ask) is replaced here; tests/browser/test_views_in_airflow.py asks the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from platform_data import DATASET, USER
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from learnloop.capacity.amounts import Amounts, Node
from learnloop.capacity.deciding import Machines, claim, decide_all
from learnloop.capacity.policy import Rules
from learnloop.capacity.reservations import Holder, Wanted, ask
from learnloop.database import AuditEvent, Dataset, Reservation, Round
from learnloop.database.engine import engine
from learnloop.errors import NotAuthenticated, NotFound
from learnloop.permissions import TABLE, Principal
from learnloop.settings import settings
from learnloop_airflow.api import auth
from learnloop_airflow.views import loop as loop_view
from learnloop_airflow.views import models as models_view
from learnloop_airflow.views.app import create_views
from learnloop_airflow.views.runs import Question, questions

if TYPE_CHECKING:
    from conftest import Platform

PAGES = {
    "/loop": "round:read",
    f"/loop?dataset={DATASET}": "round:read",
    "/run?dag_id=d&run_id=r": "round:read",
    "/datasets": "dataset:read",
    f"/datasets?dataset={DATASET}": "dataset:read",
    "/models": "model:read",
    f"/models?model={DATASET}": "model:read",
    "/annotate": "round:read",
}
ASKED = [Question("incremental_training", "round-lamps-1", "Accept model 2?", DATASET)]


@pytest.fixture(scope="module")
def views(platform: Platform) -> FastAPI:
    app = create_views()
    app.dependency_overrides[questions] = lambda: ASKED
    return app


@pytest.fixture
def see(views: FastAPI) -> Iterator[Callable[..., TestClient]]:
    """A client as which somebody with these roles looks; nobody without a name."""

    def make(name: str | None, *roles: str) -> TestClient:
        def who() -> Principal:
            if name is None:
                raise NotAuthenticated("Not authenticated")
            return Principal(name, frozenset(roles))

        views.dependency_overrides[auth.principal] = who
        return TestClient(views, raise_server_exceptions=False)

    yield make
    views.dependency_overrides.pop(auth.principal, None)


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {("d", "r"): DATASET, ("d", "none"): None, ("d", "early"): "not-made-yet"}

    def dataset_of(dag_id: str, run_id: str) -> str | None:
        if (dag_id, run_id) not in known:
            raise NotFound(f"DAG {dag_id!r} has no run {run_id!r}")
        return known[dag_id, run_id]

    monkeypatch.setattr(loop_view, "dataset_of", dataset_of)


class Texts(HTMLParser):
    """What a page shows, and the elements it is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said, self.made, self._silent = "", [], 0
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.made.append((tag, dict(attributes)))
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.said += "" if self._silent else f" {' '.join(data.split())}"


def said(answer) -> str:
    return " ".join(Texts(answer.text).said.split())


def test_the_list_here_is_complete(views) -> None:
    assert {route.path for route in views.routes} == {path.partition("?")[0] for path in PAGES}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_who_may_see_it_and_shows_the_others_nothing(see, path: str) -> None:
    for role, rights in TABLE.items():
        assert see("ann", role).get(path).status_code == (200 if PAGES[path] in rights else 403)
    refused = see("eve", "stranger").get(path)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "This is not part of your role" in said(refused)
    assert f"eve may not {PAGES[path]}" in said(refused)
    assert DATASET not in said(refused)
    nobody = see(None).get(path)
    assert (nobody.status_code, DATASET in said(nobody)) == (401, False)
    assert "Log in to see this You are not logged in" in said(nobody)
    assert 'href="/api/v2/auth/login?next=' in nobody.text


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/loop?dataset=nothing", "/loop?cursor=!"])
def test_a_page_loads_nothing_and_only_airflow_frames_it(see, path: str) -> None:
    answer = see("ann", "admin").get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    for tag, attributes in Texts(answer.text).made:
        assert not attributes.keys() & {"src", "style", "onclick"}, (tag, attributes)
        assert not (attributes.get("href") or "").startswith(("http", "//", "javascript"))


def test_the_loop_says_where_a_dataset_is_and_what_waits_for_whom(see) -> None:
    found = said(see("ann", "admin").get(f"/loop?dataset={DATASET}"))
    for words in (
        "Accept model 2? Answer",
        "Merge 1 waits for answers to its conflicts. Look",
        "samples wait for a reviewer. Annotate",
        "Next training",
        "Rounds",
    ):
        assert words in found
    viewer = said(see("vic", "viewer").get(f"/loop?dataset={DATASET}"))
    assert "Merge 1 waits" in viewer
    assert "reviewer. Annotate" not in viewer  # it is not theirs to do


def test_who_may_see_runs_sees_which_jobs_wait_for_their_turn_and_why(see) -> None:
    total = Amounts(4000, 16 * 2**30, 0)
    with Session(engine()) as db:
        claim(db, "kubernetes")
        for run_id, cores in (("first", 3), ("r", 2)):
            holder = Holder("d", run_id, "train", -1, 1)
            ask(db, Wanted("kubernetes", "ben", run_id, Amounts(cores * 1000, 2**30, 0), 3600, 0, None, holder))
        decide_all(db, "kubernetes", Machines([Node("n1", total, total)], []), Rules())
        db.commit()
    try:
        waits = "Place 1: d , train, of ben: it needs 2 cores, 1 GiB on one node; planned for"
        every, of_run, other = (
            said(see("ann", "scientist").get(path))
            for path in ("/loop", "/run?dag_id=d&run_id=r", "/run?dag_id=d&run_id=early")
        )
        assert f"Jobs that wait for their turn {waits}" in every
        assert f"Waits for its turn {waits}" in of_run
        assert "wait for their turn" not in other.lower()
        assert "Waits for its turn" not in other
        assert "ben" not in said(see("vic", "viewer").get("/loop"))
    finally:
        with Session(engine()) as db:
            db.execute(delete(Reservation))
            db.commit()
    assert "wait for their turn" not in said(see("ann", "scientist").get("/loop"))


def test_all_datasets_are_there_page_by_page(see) -> None:
    client = see("vic", "viewer")
    path, seen = "/loop", []
    while path:
        page = Texts(client.get(path).text)
        links = [attributes.get("href") or "" for tag, attributes in page.made if tag == "a"]
        seen += [link for link in links if link.startswith("?dataset=")]
        path = next((f"/loop{link}" for link in links if link.startswith("?cursor=")), None)
    with Session(engine()) as db:
        assert len(seen) == len(set(seen)) == db.scalar(select(func.count()).select_from(Dataset)) > 3


def test_a_run_shows_the_loop_of_its_dataset(see) -> None:
    client = see("vic", "viewer")
    assert DATASET in said(client.get("/run?dag_id=d&run_id=r"))
    assert "This run is about no dataset yet" in said(client.get("/run?dag_id=d&run_id=none"))
    assert "There is no dataset not-made-yet" in said(client.get("/run?dag_id=d&run_id=early"))
    assert client.get("/run?dag_id=d&run_id=other").status_code == 404


def test_versions_changes_locks_and_merges(see) -> None:
    page = see(USER, "scientist").get(f"/datasets?dataset={DATASET}&before={DATASET}_v1.0&after={DATASET}_v1.1")
    found = said(page)
    assert f"What makes {DATASET}_v1.1 out of {DATASET}_v1.0" in found
    assert "s001: label bright → dark" in found
    assert f"{USER} reads: reading since" in found
    assert "is number 1 in line: waits" in found
    assert "has the branch" in found
    assert f"open {DATASET}_v1" in found
    graph = [attributes for tag, attributes in Texts(page.text).made if tag == "circle"]
    rows = [attributes for tag, attributes in Texts(page.text).made if attributes.get("name") == "before"]
    assert len(graph) == len(rows) > 5
    other = said(see("vic", "viewer").get(f"/datasets?dataset={DATASET}"))
    assert f"_{USER}_" not in other.split("Locks")[0]  # what is personal to somebody else is not listed


def test_a_change_that_cannot_be_told_leaves_the_page(see) -> None:
    answer = see(USER, "scientist").get(f"/datasets?dataset={DATASET}&before=nothing&after={DATASET}_v1.1")
    assert answer.status_code == 200
    assert "there is no dataset version 'nothing'" in said(answer)


def test_versions_of_a_model_are_there_page_by_page(see, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_view, "LISTED", 1)
    client = see("vic", "viewer")

    def shown(path: str) -> tuple[list[str], list[str]]:
        made = [(tag, attributes) for tag, attributes in Texts(client.get(path).text).made]
        versions = [attributes["value"] for _, attributes in made if attributes.get("name") == "after"]
        return versions, [
            attributes["href"] for tag, attributes in made if tag == "a" and "?model=" in attributes["href"]
        ]

    newest, links = shown(f"/models?model={DATASET}")
    (older,) = [link for link in links if "cursor=" in link]
    assert (newest, shown(f"/models{older}")[0]) == (["2"], ["1"])


def test_models_side_by_side_and_who_may_promote(see) -> None:
    answer = see("eng", "engineer").get(f"/models?model={DATASET}&before=1&after=2")
    assert "Version 2 beside version 1" in said(answer)
    buttons = [attributes for tag, attributes in Texts(answer.text).made if tag == "button"]
    assert [button["data-version"] for button in buttons if button.get("data-asks") == "promote"] == ["2", "1"]
    viewer = see("vic", "viewer").get(f"/models?model={DATASET}&before=1&after=2")
    assert not [1 for tag, attributes in Texts(viewer.text).made if "data-asks" in attributes]
    assert "model:deploy" in said(viewer)
    assert see("vic", "viewer").get(f"/models?model={DATASET}&before=1&after=99").status_code == 404


def test_what_people_named_is_shown_and_nothing_more(see, platform) -> None:
    hostile = "</script><script>attacked()</script><img src=x onerror=attacked()>"
    with Session(engine()) as db:
        dataset = db.scalars(select(Dataset).where(Dataset.name == DATASET)).one()
        number = (db.scalar(select(func.max(Round.number)).where(Round.dataset_id == dataset.id)) or 0) + 1
        db.add(Round(dataset_id=dataset.id, number=number, state="rejected", reason=hostile, owner=hostile, metrics={}))
        db.commit()
    for path in (f"/loop?dataset={DATASET}", f"/loop?dataset={'%3Cimg%20src=x%3E'}", "/datasets?dataset=%3Cimg%3E"):
        made = Texts(see("ann", "admin").get(path).text).made
        assert [tag for tag, _ in made].count("script") == 1
        assert not [tag for tag, _ in made if tag == "img"]
    assert hostile in said(see("ann", "admin").get(f"/loop?dataset={DATASET}"))
    platform.reset()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/loop?dataset=nothing", 404, "there is no dataset 'nothing'"),
        ("/nowhere", 404, "No view has this address"),
        ("/loop?datset=lamps", 422, "query.datset: unknown parameter"),
        ("/models?model=lamps&before=x&after=2", 422, "before: Input should be a valid integer"),
        ("/loop?dataset=%00", 422, "dataset: String should match pattern"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(see, path: str, status: int, words: str) -> None:
    answer = see("ann", "admin").get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in said(answer)


def test_a_database_that_is_away_is_said_so(see) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNLOOP_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
        settings.cache_clear()
        engine.cache_clear()
        answer = see("ann", "admin").get("/loop")
    settings.cache_clear()
    engine.cache_clear()
    assert (answer.status_code, "Learnloop does not answer just now" in said(answer)) == (503, True)
    assert "nobody@" not in answer.text
    assert see("ann", "admin").get("/loop").status_code == 200


def test_what_nobody_foresaw_is_a_page_too(see, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_() -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(loop_view, "list_datasets", lambda **_: break_())
    answer = see("ann", "admin").get("/loop")
    assert (answer.status_code, "Something went wrong here" in said(answer), "secret" in answer.text) == (
        500,
        True,
        False,
    )


def test_a_refusal_is_in_the_audit_log(see) -> None:
    with Session(engine()) as db:
        before = db.scalar(select(func.count()).where(AuditEvent.owner == "eve"))
        see("eve", "stranger").get("/models")
        found = db.scalars(select(AuditEvent).where(AuditEvent.owner == "eve").order_by(AuditEvent.id)).all()
    assert len(found) == before + 1
    assert (found[-1].action, found[-1].outcome) == ("GET /models", "refused")


def test_who_has_a_page_already_is_told_so(see) -> None:
    client = see("vic", "viewer")
    etag = client.get("/annotate").headers["etag"]
    assert client.get("/annotate", headers={"If-None-Match": etag}).status_code == 304
