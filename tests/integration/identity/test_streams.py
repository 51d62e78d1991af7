"""Streams of Airflow's real server: told as it happens, and over when the token or the server is."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from queue import SimpleQueue

import pytest
from airflow_server import airflow_server

from learnloop.client import API, LearnloopClient
from learnloop.errors import NotAuthenticated, NotFound, TooManyRequests

pytestmark = pytest.mark.timeout(900)

TELL = """
import sys
from learnloop.events.log import tell
print(tell(sys.argv[1], "finished", sys.argv[2], key=sys.argv[2]))
"""


def tell(airflow, user: str, text: str) -> int:
    """From a process of its own, as tasks do."""
    done = subprocess.run(
        [sys.executable, "-c", TELL, user, text], env=airflow.environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def listen(airflow, token: str, got: SimpleQueue, **headers: str) -> threading.Thread:
    """Follow the events in a thread; what ends the stream is put last."""

    def follow() -> None:
        with LearnloopClient(airflow.url, token) as client:
            try:
                for event in client._follow("/events/stream", headers):
                    got.put(event)
                got.put("ended")
            except NotAuthenticated as error:
                got.put(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def test_an_event_arrives_as_it_happens_and_only_at_its_persons(airflow) -> None:
    sue: SimpleQueue = SimpleQueue()
    lea: SimpleQueue = SimpleQueue()
    first = tell(airflow, "sue", f"before {time.monotonic_ns()}")
    for name, queue in (("sue", sue), ("lea", lea)):
        listen(airflow, airflow.token(name), queue, **{"Last-Event-ID": str(first - 1)})
    assert sue.get(timeout=120)["id"] == str(first)  # now it listens
    said = f"now {time.monotonic_ns()}"
    tell(airflow, "sue", said)
    event = sue.get(timeout=120)
    assert (event["event"], event["data"]["text"]) == ("finished", said)
    own = tell(airflow, "lea", f"lea's {said}")
    assert lea.get(timeout=120)["id"] == str(own)  # and nothing of sue's before it


def test_a_stream_ends_with_its_token(airflow) -> None:
    token = airflow.token("vic")
    got: SimpleQueue = SimpleQueue()
    first = tell(airflow, "vic", f"hello {time.monotonic_ns()}")
    listen(airflow, token, got, **{"Last-Event-ID": str(first - 1)})
    assert got.get(timeout=120)["id"] == str(first)
    with LearnloopClient(airflow.url, token) as client:
        client.logout()
    assert isinstance(got.get(timeout=40), NotAuthenticated)


def test_one_person_can_keep_only_so_many_open(airflow) -> None:
    token = airflow.token("eng")
    queues = [SimpleQueue() for _ in range(10)]
    first = tell(airflow, "eng", f"hello {time.monotonic_ns()}")
    for queue in queues:
        listen(airflow, token, queue, **{"Last-Event-ID": str(first - 1)})
    for queue in queues:
        queue.get(timeout=120)
    with LearnloopClient(airflow.url, token) as client:
        with pytest.raises(TooManyRequests, match="10 streams"):
            next(client._follow("/events/stream", {}))
        client.logout()
    for queue in queues:
        assert isinstance(queue.get(timeout=40), NotAuthenticated)


def test_a_run_that_does_not_exist_is_named(airflow) -> None:
    with LearnloopClient(airflow.url, airflow.token("sue")) as client:
        with pytest.raises(NotFound, match="no_run"):
            client.run_progress("no_dag", "no_run")
        with pytest.raises(NotFound, match="no_run"):
            next(client.follow_run("no_dag", "no_run"))


def test_the_command_line_shows_what_one_was_told(airflow, learnloop) -> None:
    learnloop("login", "--user", "sue", "--password-stdin", typed=airflow.passwords["sue"])
    said = f"told {time.monotonic_ns()}"
    tell(airflow, "sue", said)
    assert said in learnloop("events")
    assert json.loads(learnloop("events", "--json", "--limit", "1"))[0]["text"] == said
    assert "mail: none" in learnloop("notifications")
    assert "mail: sue@example.org" in learnloop("notifications", "--mail", "sue@example.org", "--kinds", "failed")
    assert "no address" in learnloop("notifications", "--mail", "nowhere", code=1)
    assert "kinds: failed" in learnloop("notifications", "--mail", "")
    assert "no run" in learnloop("run", "watch", "no_dag", "no_run", code=1)


def test_a_server_that_stops_does_not_wait_for_streams(postgres: str) -> None:
    got: SimpleQueue = SimpleQueue()
    with airflow_server("simple", postgres) as airflow:
        first = tell(airflow, "sue", "hello")
        listen(airflow, airflow.token("sue"), got, **{"Last-Event-ID": str(first - 1)})
        assert got.get(timeout=120)["id"] == str(first)
        assert API in f"{airflow.bearing('x').base_url}"
    # ``airflow_server`` fails when the process takes longer than 30 seconds; uvicorn alone would wait two minutes.
    assert got.get(timeout=60) == "ended"
