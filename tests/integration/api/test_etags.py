"""ETags: who has an answer is not sent it again; who changes what has changed since they looked is refused."""

from __future__ import annotations

import pytest
from platform_data import DATASET, USER
from starlette.testclient import TestClient

from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app


@pytest.fixture
def api(platform) -> TestClient:
    platform.reset()
    app = create_app()
    app.dependency_overrides[auth.principal] = lambda: Principal(USER, frozenset({"admin"}))
    return TestClient(app)


def test_who_has_an_answer_already_is_not_sent_it_again(api) -> None:
    for path in (
        f"/datasets/{DATASET}",
        "/datasets?limit=5",
        f"/versions/{DATASET}_v1.0",
        f"/versions/{DATASET}_v1.0/dvc",
    ):
        first = api.get(path)
        etag = first.headers["etag"]
        for had in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = api.get(path, headers={"If-None-Match": had})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), path
            assert "content-length" not in again.headers
            assert again.headers["cache-control"] == "private, no-cache"
        other = api.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)


def test_an_answer_that_changed_is_sent(api) -> None:
    listed = api.get("/workspaces")
    before, name = listed.headers["etag"], listed.json()["items"][0]["name"]
    assert api.delete(f"/workspaces/{name}").json() == {"discarded": True}
    after = api.get("/workspaces", headers={"If-None-Match": before})
    assert (after.status_code, after.headers["etag"] == before) == (200, False)


def test_errors_have_no_etag(api) -> None:
    answer = api.get("/datasets/none", headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.headers.get("etag")) == (404, None)


def test_two_people_who_answer_a_merge_at_once_do_not_undo_each_other(api) -> None:
    seen = api.get("/merges/1")
    etag, (conflict,) = seen.headers["etag"], seen.json()["conflicts"]
    assert etag in api.get("/merges/1/view").text.replace("&quot;", '"')
    body = {"answers": {str(conflict["id"]): "theirs"}}
    first = api.post("/merges/1/answers", json=body, headers={"If-Match": etag})
    assert first.status_code == 200, first.text
    body = {"answers": {str(conflict["id"]): "ours"}}
    second = api.post("/merges/1/answers", json=body, headers={"If-Match": etag})
    assert (second.status_code, second.json()["type"]) == (412, "urn:learnloop:problem:precondition-failed")
    assert "merge 1 changed since you looked" in second.json()["detail"]
    assert api.get("/merges/1").headers["etag"] == first.headers["etag"]
    assert api.delete("/merges/1", headers={"If-Match": etag}).status_code == 412
    assert api.get("/merges/1").json()["state"] == "merged"


def test_a_merge_is_cancelled_if_it_is_as_it_was_seen(api) -> None:
    etag = api.get("/merges/1").headers["etag"]
    assert api.delete("/merges/1", headers={"If-Match": f"W/{etag}"}).status_code == 412  # a weak one says too little
    assert api.get("/merges/1").json()["state"] == "open"
    assert api.delete("/merges/1", headers={"If-Match": f'"x", {etag}'}).json()["state"] == "cancelled"
    assert api.delete("/merges/1").json()["state"] == "cancelled"
    assert api.delete("/merges/1", headers={"If-Match": "*"}).status_code == 200
