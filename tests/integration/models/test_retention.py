"""Structures that were not chosen leave the registry after a while, but nothing that anybody needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from learnloop.database import Dataset, ModelLease, session
from learnloop.errors import Conflict, NotFound
from learnloop.loop.decisions import record_decision
from learnloop.models import registry
from learnloop.models.deployment import deploy, lease_model, set_canary
from learnloop.models.retention import keep, let_go, remove_not_chosen
from learnloop.settings import settings

LATER = datetime.now(UTC) + timedelta(days=91)
NAME = "retained"


@pytest.fixture
def registered(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Version 1 as the gate accepted it, 2 to 9 as a search did not choose them; 9 with 8 as its parent."""
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_MLFLOW_URL", url)
    settings.cache_clear()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    for version in range(1, 10):
        tags = {"gate": "accepted" if version == 1 else "not chosen", "parent_model": "8" if version == 9 else ""}
        made = registry.register(
            NAME, tmp_path / "model", models_root=settings().models, tags=tags, metrics={}, idempotency_key=str(version)
        )
        assert made == version
    yield [found.source for found in reversed(registry.list_versions(NAME))]
    registry.registry_server.client_of(url).delete_registered_model(NAME)
    settings.cache_clear()


def test_what_is_needed_stays_and_the_rest_goes_with_its_files(registered: list[Path], db, database_url: str) -> None:
    dataset = Dataset(name=NAME, task_type="image_classification", owner="ann")
    db.add(dataset)
    db.flush()
    served = {"dataset_id": dataset.id, "model_name": NAME, "owner": "ann"}
    for version in (2, 3):  # 2 is what was served before
        deploy(db, alias="optimized", version=version, **served)
    set_canary(db, model_name=NAME, alias="optimized", version=4, percent=10, owner="ann")
    hour = timedelta(hours=1)
    lease_model(db, model_name=NAME, version=5, holder="pull:ann", duration=hour, owner="ann")
    record_decision(
        db, dataset_name=NAME, kind="promotion", run_id="p", accepted=True, reason="by hand", model_name=NAME,
        model_version=6, owner="ann",
    )  # fmt: skip
    db.commit()
    assert keep(NAME, 7, "for the paper", by="ann").tags["keep"] == "ann: for the paper"
    sessions = partial(session, database_url)
    assert remove_not_chosen(sessions, days=90).gone == []  # none is old enough
    assert remove_not_chosen(sessions, days=0, now=LATER).gone == []  # for ever

    done = remove_not_chosen(sessions, days=90, now=LATER)
    assert done.gone == ["retained:9"]
    assert done.kept == {
        "retained:8": "another version was trained from it",
        "retained:7": "its tag 'keep': ann: for the paper",
        "retained:6": "it was served once (promotion)",
        "retained:5": "somebody holds a lease on it",
        "retained:4": "it is deployed, or was before what is",
        "retained:3": "it is deployed, or was before what is",
        "retained:2": "it is deployed, or was before what is",
    }
    assert [folder.exists() for folder in registered] == [True] * 8 + [False]
    with pytest.raises(NotFound):
        registry.source_of(NAME, 9)

    db.query(ModelLease).update({"expires_at": datetime.now(UTC) - hour})
    db.commit()
    registry.set_alias(NAME, "base", 8)
    let_go(NAME, 7)  # 8 is no parent any more, but base
    assert remove_not_chosen(sessions, days=90, now=LATER).gone == [
        "retained:7",
        "retained:5",
    ]
    assert [found.version for found in registry.list_versions(NAME)] == [8, 6, 4, 3, 2, 1]


def test_a_removal_that_was_killed_is_made_again_and_a_key_is_free_again(
    registered: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mlflow.tracking.MlflowClient.delete_model_version", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.remove(NAME, 9)
    assert not registered[8].exists()
    assert registry.list_versions(NAME)[0].version == 9
    registry.remove(NAME, 9)
    with pytest.raises(NotFound):
        registry.remove(NAME, 9)
    again = registry.register(
        NAME, tmp_path / "model", models_root=settings().models, tags={}, metrics={}, idempotency_key="9"
    )
    assert registry.source_of(NAME, again).is_dir()
    registry.set_alias(NAME, "base", 1)
    with pytest.raises(Conflict, match="retained version 1 is base: move the alias first"):
        registry.remove(NAME, 1)
    assert registered[0].is_dir()
