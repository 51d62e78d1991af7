"""Templates that are wrong are told what is wrong with them, and inputs that a pod may not read are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from learnloop.errors import InvalidInput
from learnloop.jobs.spec import parse_spec
from learnloop.jobs.stager import Source
from learnloop.settings import settings
from learnloop_airflow.operators.pod import literal
from learnloop_airflow.pods.inputs import InputMount, resolve
from learnloop_airflow.pods.security import user_of
from learnloop_airflow.pods.template import load_template

SHIPPED = Path(__file__).parents[3] / "deploy" / "kubernetes" / "pod-template.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_the_template_we_ship_is_one() -> None:
    assert load_template(str(SHIPPED))["metadata"]["namespace"] == "learnloop"


def test_what_is_wrong_with_a_template_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="LEARNLOOP_POD_TEMPLATE names no pod template"):
        load_template("")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_template(str(tmp_path / "none.yaml"))
    path = tmp_path / "t.yaml"
    path.write_text("kind: Deployment")
    with pytest.raises(InvalidInput, match="is no Pod"):
        load_template(str(path))
    template = yaml.safe_load(SHIPPED.read_text())
    template["spec"]["volumes"].pop(0)
    path.write_text(yaml.safe_dump(template))
    with pytest.raises(InvalidInput, match="lacks volumes that every job needs\n  - volume 'namespaces'"):
        load_template(str(path))


def test_jobs_do_not_run_as_root() -> None:
    with pytest.raises(InvalidInput, match="runAsUser: 0"):
        user_of({"spec": {"securityContext": {"runAsUser": 0}}})
    assert user_of({"spec": {"securityContext": {"runAsUser": 1234}}}) == 1234
    assert user_of({"spec": {}}) > 0


def test_inputs_come_from_ones_own_namespace_only(home: Path) -> None:
    def resolved(path: Path) -> tuple[dict[str, Source], list[InputMount]]:
        fields = {"module": "m", "user": "ann", "inputs": {"model": {"kind": "url", "source": path.as_uri()}}}
        return resolve(parse_spec(fields))

    sources, mounts = resolved(home / "namespaces" / "models" / "ann" / "k" / "model")
    # The whole job's folder: "model" in it may be a link of the job's making.
    assert mounts == [InputMount("namespaces", "models/ann/k", "/stage/inputs/model")]
    assert sources["model"].path == "/stage/inputs/model/model"
    for other in (
        home / "namespaces" / "models" / "bob" / "k",
        home / "namespaces" / "models" / "ann" / ".." / "bob",
        home / "namespaces" / "models" / "ann",
        Path("/etc"),
    ):
        with pytest.raises(InvalidInput, match="cannot be staged for a pod of ann"):
            resolved(other)


def test_a_dollar_is_a_dollar() -> None:
    assert literal("$(HOME) costs $5") == "$$(HOME) costs $$5"
