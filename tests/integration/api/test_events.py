"""What people are told: once, in order, on the stream, by mail and webhook; and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from airflow.sdk import timezone
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.client_events import server_sent
from learnloop.database import Dataset, Event, EventDelivery, JobProgress
from learnloop.events import delivery, log, preferences, progress
from learnloop.events.delivery import deliver
from learnloop.events.log import after, tell
from learnloop.permissions import SERVICE
from learnloop_airflow.notifiers.events import EventNotifier, senders


def received(text: str) -> list[dict]:
    return list(server_sent(text.split("\n")))


class Receiver(HTTPServer):
    """A webhook's other end: keeps what it was sent; answers with ``status``."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hooked(app, receiver: Receiver, db: Session, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """A receiver that ann wants everything sent to."""
    host = f"127.0.0.1:{receiver.server_port}"
    preferences.choose(db, "ann", mail=None, webhook=receiver.url, kinds=preferences.EVERYTHING, webhook_hosts=host)
    db.commit()
    return receiver


def test_it_is_told_once_and_to_its_person_only(app, as_user, db) -> None:
    first = tell("ann", "finished", "it is done", key="k", dag_id="d", run_id="r")
    assert first is not None
    assert tell("ann", "finished", "it is done", key="k", dag_id="d", run_id="r") is None
    tell("bo", "failed", "it is not", key="k2")
    (event,) = as_user("ann", "viewer").get("/events").json()["items"]
    assert event["id"] == first
    assert (event["kind"], event["text"], event["run_id"]) == ("finished", "it is done", "r")
    assert as_user("cy", "viewer").get("/events").json()["items"] == []
    with pytest.raises(ValueError, match="unknown kind"):
        tell("ann", "rumour", "they say", key="k3")


def test_the_stream_begins_where_it_is_told_to(app, as_user) -> None:
    ids = [tell("ann", "finished", f"run {n}", key=f"k{n}") for n in range(5)]
    client = as_user("ann", "viewer")
    whole = client.get("/events/stream", params={"timeout_seconds": 0, "after_id": 0})
    assert whole.headers["content-type"].startswith("text/event-stream")
    events = received(whole.text)
    assert [int(event["id"]) for event in events] == ids
    assert events[0]["event"] == "finished"
    assert events[0]["data"]["text"] == "run 0"
    resumed = client.get("/events/stream", params={"timeout_seconds": 0}, headers={"Last-Event-ID": str(ids[2])})
    assert [int(event["id"]) for event in received(resumed.text)] == ids[3:]
    assert received(client.get("/events/stream", params={"timeout_seconds": 0}).text) == []
    for bad in ({"Last-Event-ID": "x"}, {"Last-Event-ID": "9" * 30}):
        assert client.get("/events/stream", params={"timeout_seconds": 0}, headers=bad).status_code == 422


def test_ids_follow_the_order_of_commits(app, database_url: str) -> None:
    """A reader who asks for what is after the newest it has seen misses nothing, however many tell at once."""
    threads = [
        threading.Thread(target=lambda n=n: [tell("ann", "finished", "x", key=f"{n} {m}") for m in range(20)])
        for n in range(8)
    ]
    seen: list[int] = []

    def read() -> None:
        from learnloop.database import session

        with session() as db:
            seen.extend(row.id for row in after(db, "ann", seen[-1] if seen else 0))

    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read()
    while len(before := list(seen)) < 160:
        read()
        assert len(seen) > len(before)
    assert len(set(seen)) == 160


def test_a_webhook_is_signed_and_sent_once(hooked: Receiver, monkeypatch) -> None:
    from learnloop import settings

    monkeypatch.setenv("LEARNLOOP_WEBHOOK_SECRET", "quiet")
    settings.settings.cache_clear()
    made = tell("ann", "needs_answer", "three conflicts", key="k", dag_id="dataset_merge", run_id="m1")
    assert deliver(senders()) == {"sent": 1, "failed": 0}
    assert deliver(senders()) == {"sent": 0, "failed": 0}
    ((headers, body),) = hooked.got
    told = json.loads(body)
    assert told["type"] == "run.needs_answer"
    assert told["data"]["text"] == "three conflicts"
    assert headers["webhook-id"] == f"event-{made}"
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.new(b"quiet", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize("status", [500, 302, 404])
def test_what_is_refused_is_tried_again_and_in_the_end_given_up(hooked: Receiver, as_user, db, status: int) -> None:
    hooked.status = status
    tell("ann", "failed", "it broke", key="k")
    assert deliver(senders()) == {"sent": 0, "failed": 1}
    assert len(hooked.got) == 1  # a redirect is not followed
    (event,) = as_user("ann", "viewer").get("/events").json()["items"]
    (sent,) = event["sent"]
    assert sent["tries"] == 1
    assert not sent["given_up"]
    assert str(status) in sent["error"]
    assert deliver(senders()) == {"sent": 0, "failed": 0}  # not yet due again
    for _ in range(delivery.TRIES - 1):
        db.execute(update(EventDelivery).values(next_try_at=func.now() - timedelta(seconds=1)))
        db.commit()
        assert deliver(senders())["failed"] == 1
    db.execute(update(EventDelivery).values(error=EventDelivery.error))
    db.commit()
    assert as_user("ann", "viewer").get("/events").json()["items"][0]["sent"][0]["given_up"]
    assert deliver(senders()) == {"sent": 0, "failed": 0}


def test_a_receiver_that_was_away_gets_it_later(hooked: Receiver, db) -> None:
    hooked.status = 503
    tell("ann", "failed", "it broke", key="k")
    deliver(senders())
    hooked.status = 204
    db.execute(update(EventDelivery).values(next_try_at=func.now()))
    db.commit()
    assert deliver(senders()) == {"sent": 1, "failed": 0}
    first, second = (headers["webhook-id"] for headers, _ in hooked.got)
    assert first == second


class Mailbox:
    def __init__(self) -> None:
        self.got: list[SimpleNamespace] = []

    async def handle_DATA(self, server, session, envelope) -> str:
        self.got.append(SimpleNamespace(to=envelope.rcpt_tos, message=message_from_bytes(envelope.content)))
        return "250 OK"


def test_mail_goes_by_airflows_connection(app, db, monkeypatch) -> None:
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    try:
        options = "disable_ssl=true&disable_tls=true&from_email=loop%40example.org"
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", f"smtp://127.0.0.1:{port}/?{options}")
        preferences.choose(db, "ann", mail="ann@example.org", webhook=None, kinds=["failed"], webhook_hosts="")
        db.commit()
        tell("ann", "finished", "not wanted by mail", key="k1")
        tell("ann", "failed", "train failed: <b>out of paper</b>", key="k2", link="http://127.0.0.1/dags/d/runs/r")
        assert deliver(senders()) == {"sent": 1, "failed": 0}
    finally:
        server.stop()
    (mail,) = box.got
    assert mail.to == ["ann@example.org"]
    assert mail.message["subject"] == "Learnloop: train failed: <b>out of paper</b>"
    html = next(part for part in mail.message.walk() if part.get_content_type() == "text/html")
    shown = html.get_payload(decode=True).decode()
    assert "&lt;b&gt;" in shown
    assert "http://127.0.0.1/dags/d/runs/r" in shown


def test_without_a_mail_connection_the_event_says_why_it_was_not_sent(app, as_user, db) -> None:
    preferences.choose(db, "ann", mail="ann@example.org", webhook=None, kinds=["failed"], webhook_hosts="")
    db.commit()
    tell("ann", "failed", "it broke", key="k")
    assert deliver(senders()) == {"sent": 0, "failed": 1}
    (event,) = as_user("ann", "viewer").get("/events").json()["items"]
    assert "smtp_default" in event["sent"][0]["error"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"mail": "nobody"}, "no address"),
        ({"mail": "a@b\nBcc: c@d"}, "no address"),
        ({"webhook": "http://169.254.169.254/latest"}, "LEARNLOOP_WEBHOOK_HOSTS"),
        ({"webhook": "http://127.0.0.1:5432/"}, "LEARNLOOP_WEBHOOK_HOSTS"),
        ({"webhook": "http://hooks.example.org@127.0.0.1/"}, "without a user name"),
        ({"webhook": "file:///etc/passwd"}, "no http or https"),
        ({"webhook": "http://[::1"}, "no URL"),
        ({"kinds": ["rumours"]}, "rumours"),
    ],
)
def test_a_place_to_be_told_at_that_cannot_be_is_refused(app, as_user, db, wrong, problem: str, monkeypatch) -> None:
    from learnloop import settings

    monkeypatch.setenv("LEARNLOOP_WEBHOOK_HOSTS", "hooks.example.org")
    settings.settings.cache_clear()
    client = as_user("ann", "annotator")
    before = client.get("/session/notifications").json()
    answer = client.put("/session/notifications", json=wrong)
    assert answer.status_code == 422
    assert problem in answer.text
    assert client.get("/session/notifications").json() == before
    fine = {"webhook": "https://hooks.example.org/x", "mail": "ann@example.org", "kinds": ["failed"]}
    assert client.put("/session/notifications", json=fine).json() == fine


def test_a_choice_made_of_an_old_one_is_refused(app, as_user) -> None:
    client = as_user("ann", "annotator")
    tag = client.get("/session/notifications").headers["etag"]
    assert client.put("/session/notifications", json={"mail": "a@b.org"}, headers={"If-Match": tag}).status_code == 200
    late = client.put("/session/notifications", json={"mail": "c@d.org"}, headers={"If-Match": tag})
    assert (late.status_code, late.json()["type"]) == (412, "urn:learnloop:problem:precondition-failed")
    assert client.get("/session/notifications").json()["mail"] == "a@b.org"


def _run(user: str | None, conf: dict | None = None, cleared: int = 0) -> dict:
    now = timezone.utcnow()
    run = SimpleNamespace(
        dag_id="incremental_training", run_id="r 1/ü", conf=conf, triggering_user_name=user, clear_number=cleared
    )
    return {"dag_run": run, "ti": SimpleNamespace(task_id="train", map_index=-1, try_number=1), "now": now}


def test_a_run_is_its_persons_or_its_datasets_owners(app, db, as_user) -> None:
    dataset = Dataset(name="pets", task_type="image_classification", loop={}, owner="ada")
    db.add(dataset)
    db.commit()
    EventNotifier("finished")(_run("sue"))
    EventNotifier("finished")(_run("sue"))
    EventNotifier("failed")(_run("sue", cleared=1) | {"exception": ValueError("out of paper")})
    told = as_user("sue", "scientist").get("/events").json()["items"]
    assert [event["text"] for event in told] == [
        "incremental_training r 1/ü failed: task train: out of paper",
        "incremental_training r 1/ü finished",
    ]
    assert told[0]["link"].endswith("/dags/incremental_training/runs/r%201%2F%C3%BC")
    EventNotifier("finished")(_run(None, {"dataset": dataset.name}, cleared=2))
    EventNotifier("finished")(_run(None, {"dataset": "no such"}, cleared=3))
    owners = set(db.scalars(select(Event.owner)))
    assert owners == {"sue", dataset.owner}
    assert SERVICE.name not in owners


def test_the_newest_progress_of_a_job_is_passed_on(app, db, tmp_path) -> None:
    task = progress.TaskName("d", "r", "train", -1)
    file = tmp_path / "progress.jsonl"
    with progress.followed(task, "ann", tmp_path):
        file.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
        while not progress.of_run(db, "d", "r"):
            db.rollback()
        assert progress.of_run(db, "d", "r") == {("train", -1): {"epoch": 2}}
        file.write_text(file.read_text() + 'ch": 3}\n')
    db.rollback()
    assert progress.of_run(db, "d", "r") == {("train", -1): {"epoch": 3}}


def test_progress_that_is_no_json_harms_no_job(app, db, tmp_path, caplog) -> None:
    with progress.followed(progress.TaskName("d", "r", "t", 0), "ann", tmp_path):
        (tmp_path / "progress.jsonl").write_text("{no json}\n")
    assert progress.of_run(db, "d", "r") == {}
    assert "was not passed on" in caplog.text


def test_what_was_told_long_ago_is_forgotten(app, db) -> None:
    tell("ann", "finished", "old", key="k1")
    tell("ann", "finished", "new", key="k2")
    progress.report(db, progress.TaskName("d", "r", "t", -1), "ann", {"epoch": 1})
    db.execute(update(Event).where(Event.key == "k1").values(created_at=func.now() - timedelta(days=91)))
    db.execute(update(JobProgress).values(updated_at=func.now() - timedelta(days=91)))
    assert (log.forget(db), progress.forget(db, 90)) == (1, 1)
    assert db.scalars(select(Event.text)).all() == ["new"]
