"""Every string of every operation takes texts that were made to do harm: nothing breaks, runs, or gets out.

The operations and their strings come from the OpenAPI document: a new route is tried by being there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_folders import write_dataset
from openapi_walk import Made, requests_of
from platform_data import DATASET, PIPELINE, USER
from sqlalchemy import String, Text, cast, create_engine, func, inspect, select
from starlette.testclient import TestClient

from learnloop.database import Base
from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app

PRODUCT = str(1337 * 1337)
SECRET = "the content of a file outside"
SQL = (
    "'; DROP TABLE datasets CASCADE; --",
    "' OR '1'='1",
    "1); DELETE FROM dataset_versions; --",
    "x' UNION SELECT version() --",
    "\\'; SELECT pg_sleep(100); --",
    "%' AND 1=1 AND '%'='",
    "$$; DROP TABLE locks; $$",
    ":name %(name)s %s",
)
TEMPLATES = (
    "{{ 1337*1337 }}",
    "${1337*1337}",
    "#{1337*1337}",
    "<%= 1337*1337 %>",
    "{% for x in (1337*1337,) %}{{ x }}{% endfor %}",
    "{0.__class__.__mro__}",
    "$(expr 1337 \\* 1337)",
    "`expr 1337 \\* 1337`",
    "${jndi:ldap://127.0.0.1/x}",
    "<script>alert(1337*1337)</script>",
    '"><img src=x onerror=alert(1337*1337)>',
)
ODD = (
    "\x00",
    "a\x00b",
    "\ud800",
    "\x1b[31m",
    "a\nb: c",
    "\u202e",
    "\u2028",
    "",
    " ",
    "0",
    "-1",
    "null",
    "𝕏" * 50,
    "e" * 5000,
)
GET_OUT = (
    "..",
    ".",
    "../outside",
    "../../outside/secret",
    "..%2foutside",
    "....//outside",
    "..\\outside",
    "/etc/passwd",
    "/etc",
    "/proc/self/environ",
    "~root",
    "file:///etc/passwd",
    "//server/share",
    "s3://bucket/prefix",
    "{home}/../outside",
    "{home}/link",
    "{home}/link/secret",
    "{home}/link/new",
    "{home}/inner/link",
    "{home}\x00/etc",
    "{outside}",
    "{outside}/new",
    "{state}",
    "{state}/store",
)
AIRFLOWS = (
    "/session/refresh",
    "/session/logout",
    "/runs/",
    "/pipelines/{name}/runs",
    "/pipelines/{name}/resources",
    "/pipelines/{name}/incremental",
)
"""Want Airflow behind them: `tests/integration/identity/test_contract_airflow.py` has it."""


@pytest.fixture(scope="module")
def place(platform) -> Iterator[TestClient]:
    """The API as an admin uses it. ``home`` has links that lead out."""
    (platform.outside / "secret").write_text(SECRET)
    write_dataset(platform.outside / "stolen", samples=4, name="stolen")
    (platform.home / "link").symlink_to(platform.outside)
    (platform.home / "inner").mkdir()
    (platform.home / "inner" / "link").symlink_to(platform.outside / "stolen")
    app = create_app()
    app.dependency_overrides[auth.principal] = lambda: Principal(USER, frozenset({"admin"}))
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def operations(place, platform) -> list[Made]:
    known = {
        "datasets.name": DATASET,
        "versions.name": f"{DATASET}_v1.0",
        "versions.before": f"{DATASET}_v1.0",
        "versions.after": f"{DATASET}_v1.1",
        "models.name": DATASET,
        "workspaces.name": "w",
        "merges.merge_id": 1,
        "version": f"{DATASET}_v1.0",
        "versions": [f"{DATASET}_v1.0"],
        "label": "dark",
        "path": str(platform.home / DATASET),
        "target": str(platform.home / "restored"),
        "to": None,
        "archive": True,
        "dry_run": True,
        "answers": {"1": "ours"},
        "cursor": "MTAwMA",
        "key": "a-key",
        "timeout_seconds": 0,
        "Last-Event-ID": "1",
        "kinds": ["failed"],
        "mail": "ada@example.org",
        "webhook": None,
        "models.version": 1,
        "models.before": 1,
        "models.after": 2,
        "deployments.version": 1,
        "deployments.name": DATASET,
        "alias": "realtime",
        "pipelines.name": PIPELINE,
        "mounts.size": "1Gi",
        "declaration": f"name: {PIPELINE}\nstages: {{train: {{module: x.y}}}}",
    }
    made = [
        one
        for one in requests_of(place.app.openapi(), known)
        if not one.path.startswith(AIRFLOWS) and (one.method, one.path) != ("DELETE", "/pipelines/{name}")
    ]
    assert len(made) > 35
    return made


def test_the_requests_that_texts_are_put_into_are_well_formed(place, operations) -> None:
    """Otherwise the texts below would be refused for what is beside them."""
    for made in operations:
        answer = place.request(**made.arguments)
        assert answer.status_code != 422 or answer.json()["detail"] != "the request is not valid", (
            str(made),
            answer.text,
        )


def test_there_are_strings_to_try(operations) -> None:
    places = {where[0] for made in operations for where in made.strings}
    assert places == {"path", "query", "header", "body"}
    assert sum(len(made.strings) for made in operations) > 60


@pytest.mark.parametrize("texts", [SQL, TEMPLATES, ODD, GET_OUT], ids=["sql", "templates", "odd", "get-out"])
def test_no_text_breaks_runs_or_gets_out(place, platform, operations, texts) -> None:
    tables, outside = rows_of(platform.url), listing(platform.outside)
    places = {"home": platform.home, "outside": platform.outside, "state": platform.home.parent / "state"}
    tried = 0
    for made in operations:
        for where in made.strings:
            for text in texts:
                for name, folder in places.items():
                    text = text.replace("{" + name + "}", str(folder))
                if where[0] == "header" and not (text.isascii() and text.isprintable() and text):
                    continue  # HTTP has no way to say it
                tried += 1
                check(place.request(**made.having(where, text).arguments), made, where, text)
    assert tried > 300
    assert listing(platform.outside) == outside
    left = rows_of(platform.url)
    assert set(left) == set(tables)
    assert all(left[name] >= count for name, count in tables.items() if name not in ("locks", "lock_requests"))
    assert not [place for place, text in texts_of(platform.url) if PRODUCT in text]


def check(answer, made: Made, where, text: str) -> None:
    told = (str(made), where, text, answer.status_code, answer.text[:500])
    assert answer.status_code < 500, told
    kind = answer.headers.get("content-type", "")
    if kind == "application/x-ndjson":
        for line in answer.text.splitlines():
            assert json.loads(line).get("problem", {"status": 0})["status"] < 500, told
    elif answer.status_code >= 400:
        assert kind == "application/problem+json", told
    assert PRODUCT not in answer.text, told
    assert SECRET not in answer.text, told
    assert "root:x:0" not in answer.text, told
    if kind.startswith("text/html"):
        assert "<script>alert" not in answer.text, told
        assert "<img" not in answer.text, told


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in [folder, *folder.rglob("*")])


def rows_of(url: str) -> dict[str, int]:
    """How many rows each table has; a table that is gone is not in it."""
    made = create_engine(url)
    with made.connect() as connection:
        there = inspect(connection).get_table_names()
        return {
            name: connection.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if name in there
        }


def texts_of(url: str) -> Iterator[tuple[str, str]]:
    """Every text of every row, with the column it is in."""
    made = create_engine(url)
    with made.connect() as connection:
        for name, table in Base.metadata.tables.items():
            for column in table.columns:
                chosen = column if isinstance(column.type, (String, Text)) else cast(column, Text)
                for text in connection.scalars(select(chosen).where(chosen.is_not(None))):
                    yield f"{name}.{column.name}", text
