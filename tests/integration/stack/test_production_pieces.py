"""What docker-compose.yaml brings from elsewhere, run natively: nginx, PostgreSQL with its replica, Redis, S3.

With the same files, commands, secrets and health checks. The whole stack is in `test_production_stack`.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from compose_native import Native
from namespaces import USER, Container, possible
from native_programs import missing
from network_cut import cut
from waits import eventually

from learnloop.stack.compose_prepare import DATABASES, prepare
from learnloop.stack.places import ROOT

MISSING = missing(whole=False)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "installed"),
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    made = Native(
        tmp_path_factory.mktemp("pieces"), ["replica"], only=["nginx", "postgres", "postgres-replica", "redis", "s3"]
    )
    try:
        made.start(seconds=120)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def pages(pieces: Native) -> Iterator[dict[str, Container]]:
    """Servers in the place of pages, each of which says who it is: nginx is what is tried."""
    with answering(
        pieces, {"annotation-page": ("172.30.71.31/24", 8501), "annotation-page-2": ("172.30.71.32/24", 8501)}
    ) as made:
        yield made


@contextmanager
def answering(pieces: Native, places: dict[str, tuple[str, int]]) -> Iterator[dict[str, Container]]:
    """File servers: each has ``/annotate/``, with its name in it, and ``/only/NAME``."""
    made = {}
    for name, (address, port) in places.items():
        files = pieces.folder / name
        for place in ("annotate/index.html", f"only/{name}"):
            (files / place).parent.mkdir(parents=True, exist_ok=True)
            (files / place).write_text(name)
        made[name] = Container(
            name, ["/usr/bin/python3", "-m", "http.server", str(port), "--directory", "/files"],
            {"HOME": "/tmp", "PATH": "/usr/bin:/bin"},
            {"/files": (files, False)}, ["/tmp:mode=1777"], pieces.folder / "run" / name, {"front": address},
        )  # fmt: skip
        made[name].start(pieces.switchboard)
    try:
        yield made
    finally:
        for server in made.values():
            server.kill()


@pytest.fixture(scope="module")
def apis(pieces: Native) -> Iterator[dict[str, Container]]:
    """The same in the place of API servers, so that somebody answers."""
    with answering(
        pieces, {"airflow-api-1": ("172.30.71.11/24", 8080), "airflow-api-2": ("172.30.71.12/24", 8080)}
    ) as made:
        eventually(
            lambda: all(
                server.run(["curl", "-sf", "http://127.0.0.1:8080/"]).returncode == 0 for server in made.values()
            )
        )
        yield made


@pytest.fixture
def browser(pieces: Native) -> Iterator[httpx.Client]:
    """It trusts nobody but the stack's own certificate."""
    trusted = ssl.create_default_context(cafile=str(pieces.certificate))
    with httpx.Client(base_url=pieces.url, verify=trusted, timeout=30) as client:
        yield client


def sql(pieces: Native, service: str, statement: str, user: str = "postgres", host: str = "/var/run/postgresql") -> str:
    names = {"postgres": "postgres_password", "replication": "password-replication"}
    word = (pieces.folder / "compose" / "secrets" / names.get(user, f"password-{user}")).read_text()
    command = ["psql", "-X", "-A", "-t", "-h", host, "-U", user, "-d", user, "-c", statement]
    answer = pieces.containers[service].run(["env", f"PGPASSWORD={word}", *command])
    return answer.stdout.strip() or answer.stderr.strip()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # old TLS is named to see it refused
def test_tls_is_verified_and_nothing_else_is_spoken(pieces: Native, browser: httpx.Client) -> None:
    assert browser.get("/execution/health").status_code == 404
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(pieces.url, verify=ssl.create_default_context())
    plain = httpx.get(pieces.url.replace("https:", "http:") + "/annotate/?q=1")
    assert (plain.status_code, plain.headers["location"]) == (308, f"{pieces.url}/annotate/?q=1")
    old = ssl.create_default_context(cafile=str(pieces.certificate))
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError):
        httpx.get(pieces.url, verify=old)


@pytest.mark.usefixtures("apis", "pages")
def test_every_answer_has_the_security_headers(browser: httpx.Client) -> None:
    eventually(lambda: browser.get("/annotate/").status_code == 200)
    for path, status in (("/annotate/", 200), ("/annotate", 301), ("/execution/x", 404), ("/api/v2/version", 404)):
        answer = browser.get(path)
        assert answer.status_code == status, path
        assert answer.headers["strict-transport-security"] == "max-age=31536000", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "SAMEORIGIN", path
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"], path
        assert "/" not in answer.headers.get("server", ""), path  # no version


def test_a_body_that_is_too_large_is_refused(browser: httpx.Client) -> None:
    assert browser.post("/learnloop/api/v1/datasets", content=b"x" * (17 * 2**20)).status_code == 413


@pytest.mark.usefixtures("apis")
def test_who_asks_too_often_gets_429_and_logins_sooner(browser: httpx.Client) -> None:
    logins = Counter(browser.post("/auth/token", json={}).status_code for _ in range(40))
    assert logins[429] >= 15  # a burst of 20, and one every other second
    assert browser.get("/auth/token").status_code != 429  # only what is posted is counted


@pytest.mark.usefixtures("apis")
def test_an_address_has_a_burst_of_requests_and_more_get_429(pieces: Native) -> None:
    """Of the inside's own address, so that nobody else's requests are counted with these."""

    def burst(many: int) -> Counter[str]:
        asked = f"https://127.0.0.1:8443/only/airflow-api-1?[1-{many}]"
        command = ["curl", "-sk", "--http1.1", "--parallel", "-o", "/dev/null", "-w", "%{http_code}\\n", asked]
        return Counter(pieces.containers["nginx"].run(command).stdout.split())

    below = burst(300)
    assert (below["429"], below.total()) == (0, 300)
    beyond = burst(1200)  # they take what is left of 400, and 100 a second
    assert beyond["429"] > 0
    assert beyond.total() - beyond["429"] >= 100
    assert "limiting requests, excess: 400" in pieces.containers["nginx"].log.read_text()


HELD_REQUESTS = """
import http.client, json, socket, ssl, time
trusted = ssl._create_unverified_context()
began = time.monotonic()
def held(number):
    time.sleep(max(0, began + number / 200 - time.monotonic()))  # within the limit of requests
    made = socket.create_connection(("127.0.0.1", 8443), 30, ("127.0.0.2", 0))
    made = trusted.wrap_socket(made, server_hostname="localhost")
    made.sendall(b"POST /held HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 9\\r\\n\\r\\n")  # and no body
    return made
def asked():
    client = http.client.HTTPSConnection("127.0.0.1", 8443, timeout=30, source_address=("127.0.0.2", 0), context=trusted)
    client.request("GET", "/only/airflow-api-1")
    status = client.getresponse().status
    client.close()
    return status
def eventually(limited):
    end = time.monotonic() + 20
    while (asked() == 429) != limited and time.monotonic() < end:
        time.sleep(0.1)
    return time.monotonic() < end
open_ = [held(number) for number in range(511)]
told = [asked() != 429]
open_.append(held(512))
told.append(eventually(True))
open_.pop().close()
told.append(eventually(False))
print(json.dumps(told))
"""


@pytest.mark.usefixtures("apis")
def test_an_address_has_512_connections_and_the_next_gets_429(pieces: Native) -> None:
    nginx = pieces.containers["nginx"]
    told = nginx.run(["/usr/bin/python3", "-c", HELD_REQUESTS])
    assert told.stdout.strip() == "[true, true, true]", told.stdout + told.stderr
    assert 'limiting connections by zone "connections", client: 127.0.0.2' in nginx.log.read_text()


def test_a_person_stays_at_their_page(pieces: Native, browser: httpx.Client, pages: dict[str, Container]) -> None:
    nginx = pieces.containers["nginx"]
    both = (pieces.folder / "upstreams.conf").resolve()
    own = nginx.mounts["/etc/nginx/upstreams.conf"]
    line = "    server annotation-page:8501 max_fails=1 fail_timeout=5s;\n"
    assert line in own[0].read_text()
    both.write_text(own[0].read_text().replace(line, line + line.replace("annotation-page:", "172.30.71.32:")))
    nginx.stop()
    pieces.containers["nginx"] = second = Container(
        **{**vars(nginx), "mounts": {**nginx.mounts, "/etc/nginx/upstreams.conf": (both, False)}, "process": None}
    )
    second.start(pieces.switchboard)
    eventually(lambda: pieces.healthy("nginx"))
    seen = Counter()
    for _ in range(20):
        browser.cookies.clear()
        first = browser.get("/annotate/")
        assert "Secure; HttpOnly; SameSite=Lax" in first.headers["set-cookie"]
        again = [browser.get("/annotate/") for _ in range(5)]
        assert {answer.text for answer in again} == {first.text}
        assert all("set-cookie" not in answer.headers for answer in again)
        seen[first.text] += 1
    assert set(seen) == set(pages)  # and people are on both
    pages[first.text].kill()
    assert browser.get("/annotate/").text != first.text  # whose page is gone comes to the other


@pytest.fixture(scope="module")
def models(pieces: Native) -> Iterator[dict[str, Container]]:
    """The same in the place of model servers."""
    places = {"model-server-1": ("172.30.71.21/24", 8090), "model-server-2": ("172.30.71.22/24", 8090)}
    with answering(pieces, places) as made:
        eventually(lambda: all(asked_inside(pieces, f"/only/{name}") == f"{name}200" for name in made))
        yield made


def asked_inside(pieces: Native, path: str) -> str:
    """What the listener of models answers, with the status behind it."""
    command = ["curl", "-s", "-w", "%{http_code}", f"http://127.0.0.1:8090{path}"]
    return pieces.containers["nginx"].run(command).stdout


def test_a_model_that_one_server_does_not_know_yet_is_asked_of_the_other(
    pieces: Native, models: dict[str, Container]
) -> None:
    # A server that was not there yet, or was slow to let nginx in, is left out for five seconds after that.
    every = {f"{name}200" for name in models}
    eventually(lambda: {asked_inside(pieces, f"/only/{name}") for _ in range(5) for name in models} == every)
    assert asked_inside(pieces, "/only/nobody").endswith("404")


@pytest.mark.parametrize("back", ["airflow-api-1", "airflow-api-2"])  # whichever of them is asked first
def test_a_request_is_answered_when_one_server_is_back_and_the_other_goes(
    pieces: Native, browser: httpx.Client, apis: dict[str, Container], back: str
) -> None:
    nginx, one = pieces.containers["nginx"], apis[back]
    (other,) = (server for server in apis.values() if server is not one)
    with cut(nginx, other), ThreadPoolExecutor() as pool:
        with cut(nginx, one):
            with pytest.raises(httpx.ReadTimeout):  # each is waited for for a second: both are left out after that
                browser.get("/only/nobody", timeout=2.5)
            began = time.monotonic()
            asked = pool.submit(browser.get, f"/only/{one.name}")
            eventually(lambda: time.monotonic() > began + 1.7)  # one has been asked in vain, and the other nearly
        answer = asked.result()
    assert (answer.status_code, answer.text) == (200, one.name)


def test_a_model_that_nobody_knows_is_404_while_a_server_is_away(pieces: Native, models: dict[str, Container]) -> None:
    nginx, (_, other) = pieces.containers["nginx"], models.values()
    with cut(nginx, other):
        assert {asked_inside(pieces, "/only/nobody")[-3:] for _ in range(6)} == {"404"}


def test_postgres_lets_in_whom_it_should(pieces: Native) -> None:
    for name in ("airflow", "learnloop", "mlflow"):
        assert sql(pieces, "postgres-replica", "select current_user", user=name, host="postgres") == name
    assert "no pg_hba.conf entry" in sql(
        pieces, "postgres-replica", "select 1", host="postgres"
    )  # the superuser, from afar
    assert sql(pieces, "postgres", "show data_checksums") == "on"
    assert sql(pieces, "postgres", "show max_connections") == "400"


def test_the_replica_follows(pieces: Native) -> None:
    assert sql(pieces, "postgres", "select application_name || ':' || state from pg_stat_replication").endswith(
        ":streaming"
    )
    sql(pieces, "postgres", "create table told (word text); insert into told values ('hello')")
    eventually(lambda: sql(pieces, "postgres-replica", "select word from told") == "hello")
    assert "read-only" in sql(pieces, "postgres-replica", "insert into told values ('x')")


def test_the_replica_catches_up_when_the_network_between_them_was_cut(pieces: Native) -> None:
    with cut(pieces.containers["postgres"], pieces.containers["postgres-replica"]):
        sql(pieces, "postgres", "create table told_meanwhile as select 'hello' as word")
        assert "does not exist" in sql(pieces, "postgres-replica", "select word from told_meanwhile")
    eventually(lambda: sql(pieces, "postgres-replica", "select word from told_meanwhile") == "hello")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Native]:
    """A PostgreSQL and its replica of a test's own."""
    made = Native(tmp_path, ["replica"], only=["postgres", "postgres-replica"])
    try:
        made.start(seconds=120)
        yield made
    finally:
        made.close()


def test_a_replica_that_is_promoted_is_written_to_and_takes_the_place_of_the_lost_one(pair: Native) -> None:
    """By the commands of docs/operations.md, but for those of the engine."""
    told = (
        (ROOT / "docs" / "operations.md").read_text().partition("## When PostgreSQL is lost")[2].partition("\n## ")[0]
    )
    (promote,) = re.findall(r"^    docker compose .* exec postgres-replica (.+)$", told, re.MULTILINE)
    stand_in, go_back = re.findall(r"^    (sed .+)$", told, re.MULTILINE)
    old, replica = pair.containers["postgres"], pair.containers["postgres-replica"]

    def asked(name: str, statement: str) -> str:
        """With the address that the services are given."""
        url = re.sub(r"\+\w+:", ":", (pair.folder / "compose" / "secrets" / f"{name}_database_url").read_text())
        answer = replica.run(["psql", "-X", "-A", "-t", "-q", url, "-c", statement])
        return answer.stdout.strip() or answer.stderr.strip()

    def shell(line: str) -> None:
        there = line.replace("deploy/compose/data", str(pair.folder / "data"))
        there = there.replace("deploy/compose", str(pair.folder / "compose"))
        subprocess.run(["bash", "-e", "-c", there], check=True)

    for name in DATABASES:
        assert asked(name, "create table told as select 'before' as word") == ""
        eventually(lambda name=name: sql(pair, "postgres-replica", "select word from told", name) == "before")
    old.kill()
    assert "connection to server" in asked("learnloop", "select 1")
    promoted = replica.run(promote.split())
    assert promoted.returncode == 0, promoted.stderr
    shell(stand_in)
    for name in DATABASES:
        assert asked(name, "insert into told values ('after')") == ""

    replica.kill()
    for line in re.findall(r"^    (mv .+)$", told, re.MULTILINE):
        shell(line)
    shell(go_back)
    prepare(pair.folder / "compose", pair.folder / "data", "localhost", (USER, USER))
    for container in (old, replica):
        container.start(pair.switchboard)
        eventually(lambda name=container.name: pair.healthy(name), seconds=60)
    for name in DATABASES:
        assert asked(name, "select string_agg(word, ' ') from told") == "before after"
        assert asked(name, "insert into told values ('again')") == ""
        eventually(lambda name=name: sql(pair, "postgres-replica", "select count(*) from told", name) == "3")
    assert "read-only" in sql(pair, "postgres-replica", "insert into told values ('x')", "learnloop")


def test_redis_lets_nobody_in_without_its_secret(pieces: Native) -> None:
    redis = pieces.containers["redis"]

    def ask(*words: str) -> str:
        return redis.run(["redis-cli", "--no-auth-warning", *words]).stdout.strip()

    assert "NOAUTH" in ask("ping")
    assert "NOPERM" in ask("--user", "probe", "--pass", "probe", "get", "x")
    word = (pieces.folder / "compose" / "secrets" / "password-redis").read_text()
    assert ask("--user", "learnloop", "--pass", word, "set", "x", "1") == "OK"
    assert "NOPERM" in ask("--user", "learnloop", "--pass", word, "config", "get", "*")


def test_what_runs_is_nobody_and_can_write_nowhere_else(pieces: Native) -> None:
    for name, container in pieces.containers.items():
        told = container.run(["cat", "/proc/self/status"]).stdout.splitlines()
        status = dict(line.split(":\t", 1) for line in told if ":\t" in line)
        assert status["Uid"].split() == [str(USER)] * 4, name
        assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1"), name
        assert container.run(["touch", "/var/lib/x"]).returncode != 0, name
        mine = {path.rpartition("/")[2] for path in container.run(["ls", "/run/secrets"]).stdout.split()}
        assert mine == set(pieces.services[name].get("secrets", ())), name
