import shutil
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from learnloop.errors import Corrupted, InvalidInput, NotFound, Unavailable
from learnloop.jobs.checksums import check_manifest
from learnloop.models import registry


@pytest.fixture(scope="module")
def url(postgres: str) -> Iterator[str]:
    """MLflow's database, prepared."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    maintenance.dispose()
    made = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    registry.prepare(made)
    registry.prepare(made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "MLmodel").write_text("flavors: {}")
    (made / "model.skops").write_text("weights")
    return made


def register(url: str, folder: Path, key: str, name: str = "digits") -> int:
    return registry.register(
        name,
        folder,
        models_root=folder.parent / "models",
        tags={"round": "1", "gate": "accepted", "parent_model": ""},
        metrics={"accuracy": 0.95},
        idempotency_key=key,
        url=url,
    )


def test_a_retried_registration_makes_one_version(url: str, folder: Path) -> None:
    first = register(url, folder, "round/1", "once")
    (folder / "model.skops").write_text("other weights")
    assert register(url, folder, "round/1", "once") == first == 1
    assert register(url, folder, "round/2", "once") == 2
    newest, oldest = registry.list_versions("once", url)
    assert (newest.version, oldest.version) == (2, 1)
    assert oldest.metrics == {"accuracy": 0.95}
    assert oldest.tags == {"round": "1", "gate": "accepted", "parent_model": "", "idempotency_key": "round/1"}
    source = registry.source_of("once", 1, url)
    assert (source / "model.skops").read_text() == "weights"
    assert source.is_relative_to(folder.parent / "models" / "once")
    check_manifest(source)
    (source / "model.skops").write_text("Weights")
    with pytest.raises(Corrupted, match=r"model\.skops does not match"):
        check_manifest(source)


def test_concurrent_registrations_of_one_key_make_one_version(url: str, folder: Path) -> None:
    together = threading.Barrier(4)

    def one(_: int) -> int:
        together.wait()
        return register(url, folder, "key", "race")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(4))) == {1}
    assert len(registry.list_versions("race", url)) == 1


def test_what_a_killed_registration_left_is_replaced(url: str, folder: Path) -> None:
    left = folder.parent / "models" / "torn" / "key"
    shutil.copytree(folder, left)
    (left / "model.skops").write_text("half")
    assert register(url, folder, "key", "torn") == 1
    assert (registry.source_of("torn", 1, url) / "model.skops").read_text() == "weights"


def test_aliases_move_and_agree_with_mlflow(url: str, folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    versions = [register(url, folder, key, "aliased") for key in ("a", "b")]
    assert registry.version_of("aliased", "realtime", url) is None
    for version in versions:
        registry.set_alias("aliased", "realtime", version, url)
        assert registry.version_of("aliased", "realtime", url) == version
    theirs = MlflowClient(url, url).get_model_version_by_alias("aliased", "realtime")
    assert int(theirs.version) == 2
    assert Path(theirs.source) == registry.source_of("aliased", 2, url)
    assert theirs.tags == registry.list_versions("aliased", url)[0].tags | {"metric.accuracy": "0.95"}
    assert [found.aliases for found in registry.list_versions("aliased", url)] == [("realtime",), ()]


def test_a_part_of_the_versions_and_of_the_names(url: str, folder: Path) -> None:
    for name in ("wine", "Pets", "lamps"):
        for key in ("a", "b", "c"):
            register(url, folder, key, name)
    registry.set_alias("wine", "realtime", 2, url)
    everybodys = registry.names(url=url)
    assert [name for name in everybodys if name in ("wine", "Pets", "lamps")] == ["Pets", "lamps", "wine"]
    assert registry.names(after="lamps", url=url) == everybodys[everybodys.index("lamps") + 1 :]
    assert registry.names(limit=1, url=url) == ["Pets"]
    assert [found.version for found in registry.list_versions("wine", url, limit=2)] == [3, 2]
    (second,) = registry.list_versions("wine", url, before=3, limit=1)
    assert (second.version, second.aliases, second.metrics) == (2, ("realtime",), {"accuracy": 0.95})
    assert registry.list_versions("wine", url, before=1) == []


def test_bad_input_is_named_and_changes_nothing(url: str, folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"model name '\.\./x'"):
        register(url, folder, "key", "../x")
    (folder / "MLmodel").unlink()
    with pytest.raises(InvalidInput, match="has no file MLmodel"):
        register(url, folder, "key", "none")
    assert registry.list_versions("none", url) == []
    with pytest.raises(NotFound, match="no version 7 of model 'none'"):
        registry.source_of("none", 7, url)
    with pytest.raises(NotFound, match="no version 7"):
        registry.set_alias("none", "base", 7, url)
    with pytest.raises(Unavailable, match="LEARNLOOP_MLFLOW_URL must be"):
        registry.source_of("none", 7, "http://127.0.0.1:5000")
