from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.errors import InvalidInput
from learnloop.jobs.namespace import user_folder
from learnloop.jobs.spec import JobSpec, parse_spec

SPEC: dict[str, Any] = {
    "module": "learnloop.training.train",
    "user": "ann",
    "params": {"hidden": [32], "name": "mlp"},
    "inputs": {"dataset": {"kind": "dataset", "source": "abc.dir", "include": ["*.parquet"]}},
    "mounts": [{"name": "scratch", "path": "/scratch", "size": "2Gi", "lifetime": "pipeline"}],
    "pins": {"dataset_version": "digits_v1.0", "model_name": "digits", "model_version": 3},
}

# Pinned: a change of this hash would train everything again.
KEY = "job-329ceeeba9efcb15dee1c25243607fa2"


def test_round_trips_as_json() -> None:
    spec = parse_spec(SPEC)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.schema_version == 1


def test_the_default_key_is_what_determines_the_result() -> None:
    key = parse_spec(SPEC).default_key()
    assert key == KEY
    same = [{"user": "bob"}, {"priority": 5}, {"timeout_seconds": 5}, {"resources": {"cpu": 2}}, {"node_pool": "gpu"}]
    other = [{"seed": 1}, {"params": {"hidden": [64]}}, {"env": {"A": "1"}}, {"pins": {}}, {"inputs": {}}]
    assert {parse_spec(SPEC | change).default_key() for change in same} == {key}
    assert len({parse_spec(SPEC | change).default_key() for change in other} | {key}) == len(other) + 1
    assert parse_spec(SPEC | {"idempotency_key": "round-1"}).key == "round-1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": None}, "either a module"),
        ({"command": ["true"]}, "either a module"),
        ({"module": "os; rm"}, "module: "),
        ({"inputs": {"../x": {"kind": "dataset", "source": "a"}}}, "inputs"),
        ({"inputs": {"x": {"kind": "magic", "source": "a"}}}, "inputs.x.kind"),
        ({"outputs": ["/etc/passwd"]}, "outputs.0"),
        ({"env": {"DATA_DIR": "/"}}, "DATA_DIR is the runner's"),
        ({"secrets": {"LEARNLOOP_DATABASE_URL": "x"}}, "LEARNLOOP_DATABASE_URL is the runner's"),
        ({"env": {"A": "1"}, "secrets": {"A": "vault:a"}}, "A stands in env and in secrets"),
        ({"mounts": [{"name": "m", "path": "/a/../..", "size": "1Gi"}]}, "without '..'"),
        ({"mounts": [{"name": n, "path": "/a", "size": "1Gi"} for n in "ab"]}, "mount path /a is used twice"),
        (
            {"mounts": [{"name": n, "path": f"/{n}", "size": "1Gi"} for n in ("a-b", "a_b")]},
            "variable MOUNT_A_B is used twice",
        ),
        (
            {"mounts": [{"name": n, "path": p, "size": "1Gi"} for n, p in (("a", "/m"), ("b", "/m/x"))]},
            "lies within",
        ),
        ({"mounts": [{"name": "m", "path": "/data/bob", "size": "1Gi"}]}, "cannot be in /data"),
        ({"mounts": [{"name": "m", "path": "//etc/", "size": "1Gi"}]}, "cannot be in /etc"),
        (
            {"mounts": [{"name": "m", "path": "/m", "size": "1Gi", "cache": True, "lifetime": "user"}]},
            "cache cannot",
        ),
        ({"mounts": [{"name": "m", "path": "/m", "size": "1Gi", "claim": "x"}]}, "say lifetime user with claim"),
        (
            {"mounts": [{"name": f"m{n}", "path": f"/m{n}", "size": "1Gi"} for n in range(17)]},
            "17 mounts, and 16 may be",
        ),
        ({"env": {"MOUNT_SCRATCH": "/"}}, "MOUNT_SCRATCH is the runner's"),
        ({"resources": {"memory": "lots"}}, "resources.memory"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout": 5}, "timeout: Extra inputs"),
        ({"schema_version": 2}, "schema_version"),
        ({"params": {"seed": 3}}, "the seed field"),
    ],
)
def test_faults_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match="not valid") as caught:
        parse_spec(SPEC | change)
    assert message in str(caught.value)


@given(st.text(min_size=1), st.text(min_size=1))
def test_user_folders_are_safe_and_differ(one: str, other: str) -> None:
    folders = user_folder(one), user_folder(other)
    for folder in folders:
        assert 1 <= len(folder) <= 63
        assert set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert folder[0] != "-" != folder[-1]
    assert (folders[0] == folders[1]) is (one == other)


def test_no_job_gets_the_folder_of_workspaces() -> None:
    # It would be emptied when the job ends, and all that user's work with it.
    assert parse_spec(SPEC | {"user": "ann", "idempotency_key": "workspaces"}).folder.startswith("ann/workspaces--")


def test_nobody_can_choose_anothers_folder() -> None:
    assert user_folder("ann") == "ann"
    victim = user_folder("Ann")
    assert victim.startswith("ann--")
    assert user_folder(victim) != victim
    assert len({user_folder(name) for name in ("..", ".", "/", "../ann", "a/b", "a b", "a" * 64, "a" * 65)}) == 8
    with pytest.raises(InvalidInput, match="empty"):
        user_folder("")
