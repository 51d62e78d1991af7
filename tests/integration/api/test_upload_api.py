"""A file of tasks sent to the API: bounded, read only for who may, and nothing of it is left."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from test_exchange_api import home, run, url  # noqa: F401 - fixtures

from learnloop import settings
from learnloop.client import API, LearnloopClient
from learnloop.errors import BodyTooLarge, InvalidInput, NotFound

PATH = f"{API}/datasets/pets/tasks/upload?batch=arrived&format=csv"
FILE = b"path,predicted_label,predicted_confidence\ns0.png,dog,0.9\ns1.png,cat,0.8\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server puts files for a while."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def headers(**more: str) -> dict[str, str]:
    return {"Authorization": "Bearer sam", "Content-Type": "application/octet-stream", **more}


def test_a_file_becomes_tasks_and_what_was_left_alone_is_named(url: str, temporary: Path) -> None:  # noqa: F811
    with LearnloopClient(url, "sam") as sam, LearnloopClient(url, "ann") as ann:
        done = sam.upload_tasks("pets", FILE, "arrived", format="csv")
        assert (done["created"], done["left_rows"]) == (2, [])
        assert ann.claim("pets").prediction.label in ("dog", "cat")
        again = sam.upload_tasks("pets", FILE.replace(b"0.9", b"0.7").replace(b"0.8", b"0.7"), "arrived", format="csv")
        assert (again["updated"], again["left"]) == (1, 1)
        assert again["left_rows"] in (["line 2"], ["line 3"])
    assert not list(temporary.iterdir())


def test_what_is_wrong_is_told_by_row_and_nothing_stays(url: str, temporary: Path) -> None:  # noqa: F811
    with LearnloopClient(url, "sam") as sam:
        with pytest.raises(InvalidInput, match=r"upload\.csv cannot be imported; nothing was changed") as raised:
            sam.upload_tasks("pets", FILE + b"s9.png,cow,0.9\n", "arrived", format="csv")
        assert [problem.partition(":")[0] for problem in raised.value.problems] == [
            "line 4, predicted_label",
            "line 4, path",
        ]
        with pytest.raises(InvalidInput, match=r"upload\.json is not JSON"):
            sam.upload_tasks("pets", FILE, "arrived", format="label-studio")
        with pytest.raises(InvalidInput, match=r"upload\.parquet is not Parquet"):
            sam.upload_tasks("pets", b"", "arrived", format="parquet")
        with pytest.raises(InvalidInput, match=r"^我的 tasks\.CSV cannot be imported"):
            sam.upload_tasks("pets", FILE + b"s9.png,cow,0.9\n", "arrived", format="csv", filename="我的 tasks.CSV")
        with pytest.raises(InvalidInput, match=r"^我{83}\.csv cannot be imported"):  # 253 bytes
            sam.upload_tasks("pets", FILE + b"s9.png,cow,0.9\n", "arrived", format="csv", filename="我" * 200 + ".csv")
        for filename in ("../tasks.csv", "/tasks.csv", "..", "", "我" * 256, "tasks\n.csv"):
            with pytest.raises(InvalidInput, match="filename"):
                sam.upload_tasks("pets", FILE, "arrived", format="csv", filename=filename)
        with pytest.raises(NotFound, match="no batch 'other'"):
            sam.upload_tasks("pets", FILE, "other", format="csv")
        assert sam.progress("pets").open_tasks == 0
    assert not list(temporary.iterdir())


def test_a_file_over_the_limit_is_refused_with_and_without_its_length(
    url: str,  # noqa: F811
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEARNLOOP_UPLOAD_BYTES", str(len(FILE)))
    settings.settings.cache_clear()
    with LearnloopClient(url, "sam") as sam:
        assert sam.upload_tasks("pets", FILE, "arrived", format="csv")["created"] == 2
        with pytest.raises(BodyTooLarge, match="split it, or have the server read it where it is"):
            sam.upload_tasks("pets", FILE + b"\n", "arrived", format="csv")
    in_parts = httpx.post(url + PATH, content=(FILE[n : n + 1] for n in range(len(FILE))), headers=headers())
    assert in_parts.status_code == 200
    in_parts = httpx.post(url + PATH, content=(b" " for _ in range(len(FILE) + 1)), headers=headers())
    assert (in_parts.status_code, in_parts.json()["type"]) == (413, "urn:learnloop:problem:body-too-large")
    assert not list(temporary.iterdir())


def test_a_body_of_another_kind_is_refused(url: str) -> None:  # noqa: F811
    other = httpx.post(url + PATH, content=FILE, headers=headers(**{"Content-Type": "text/csv"}))
    assert (other.status_code, other.json()["type"]) == (415, "urn:learnloop:problem:unsupported-media-type")
    assert "application/octet-stream" in other.json()["detail"]
    odd = httpx.post(url + PATH.replace("format=csv", "format=xls"), content=FILE, headers=headers())
    assert odd.status_code == 422


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def begun(url: str, token: str) -> socket.socket:  # noqa: F811
    """A connection on which a file of 1000 bytes was announced, and 10 came."""
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n"
    connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n0123456789".encode())
    return connection


def test_who_may_not_is_answered_before_the_file_is_there(url: str, temporary: Path) -> None:  # noqa: F811
    for token, status in (("nobody", b"401"), ("ann", b"403")):
        with begun(url, token) as connection:
            assert connection.recv(12).split()[1] == status
    assert not list(temporary.iterdir())


def test_a_file_that_does_not_come_is_not_waited_for(
    url: str,  # noqa: F811
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEARNLOOP_UPLOAD_SECONDS", "1")
    settings.settings.cache_clear()
    with begun(url, "sam") as connection:
        assert connection.recv(12).split()[1] == b"408"
    with begun(url, "sam"):
        until(lambda: list(temporary.iterdir()))
    until(lambda: not list(temporary.iterdir()))  # who sent it went away
