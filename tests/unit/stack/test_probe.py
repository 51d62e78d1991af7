"""The health checks' question, put to a real server."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

ANSWERS = {
    "/well": (200, b'{"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}'),
    "/text": (200, b"OK"),
    "/ill": (503, b""),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "part", "said"),
    [
        ("/text", None, None),
        ("/well", "scheduler", None),
        ("/well", "triggerer", "triggerer is unhealthy"),
        ("/well", "dag_processor", "dag_processor"),
        ("/ill", None, "503"),
        ("/text", "scheduler", "Expecting value"),
    ],
)
def test_it_says_whether_a_part_is_well(address: str, path: str, part: str | None, said: str | None) -> None:
    command = [sys.executable, "-m", "learnloop.stack.probe", address + path, *(["--part", part] if part else [])]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert (answer.returncode == 0) is (said is None)
    assert (said or "") in answer.stderr


def test_a_server_that_is_not_there_is_not_well_and_other_places_are_not_asked() -> None:
    command = [sys.executable, "-m", "learnloop.stack.probe"]
    away = subprocess.run([*command, "http://127.0.0.1:1/"], capture_output=True, text=True)
    assert away.returncode == 1
    assert "refused" in away.stderr
    file = subprocess.run([*command, "file:///etc/passwd"], capture_output=True, text=True)
    assert file.returncode == 2
    assert "is no HTTP address" in file.stderr
