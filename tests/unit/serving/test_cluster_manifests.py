"""What a deployment row becomes on Kubernetes: units, objects, and the template they are made of."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from learnloop.errors import InvalidInput
from learnloop.models.promotion import canary
from learnloop.models.registered import NAME
from learnloop.serving.cluster.manifests import Noting, Versions, current_service, manifests
from learnloop.serving.cluster.template import load_template, parse_template
from learnloop.serving.cluster.units import Unit, made_for, object_name, order_of, wanted_of
from learnloop.serving.noting import LiveRules
from learnloop.settings import settings

SHIPPED = Path(__file__).parents[3] / "deploy" / "kubernetes" / "serving-template.yaml"
UNIT = Unit("digits", "realtime", 3, row=7, generation=2)


def row(alias: str, version: int, **more: Any) -> Any:
    given = {"canary_version": None, "canary_percent": 0, "id": 1, "generation": 1, **more}
    return SimpleNamespace(model_name="digits", alias=alias, model_version=version, **given)


def made(unit: Unit = UNIT, **annotations: str) -> dict[str, dict[str, Any]]:
    template = yaml.safe_load(SHIPPED.read_text())
    template["metadata"]["annotations"] = annotations
    folders = {3: "digits/three", 4: "digits/four"}
    found = manifests(unit, parse_template(template, "x"), folders, Versions())
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def test_a_unit_is_a_service_a_deployment_and_a_disruption_budget() -> None:
    found = made()
    assert list(found) == [
        "Service/digits-realtime",
        "Deployment/digits-realtime",
        "PodDisruptionBudget/digits-realtime",
    ]
    deployment = found["Deployment/digits-realtime"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]
    assert pod["metadata"]["labels"].items() >= found["Service/digits-realtime"]["spec"]["selector"].items()
    assert pod["metadata"]["labels"].items() >= deployment["spec"]["selector"]["matchLabels"].items()
    container = pod["spec"]["containers"][0]
    assert container["args"][:6] == ["--name", "digits", "--version", "3", "--folder", "/model"]
    assert container["args"][6:10] == ["--alias", "realtime", "--alias", "current"]
    mounted = {one["mountPath"]: one for one in container["volumeMounts"]}
    assert mounted["/model"]["subPath"] == "digits/three"
    assert mounted["/model"]["readOnly"] is True
    assert container["env"] == [{"name": "LEARNLOOP_SERVING_QUEUE", "value": "256"}]  # the template's
    assert pod["spec"]["terminationGracePeriodSeconds"] >= 5 + 30


def test_the_selector_never_changes_with_the_version() -> None:
    """A Deployment's cannot be changed."""
    other = made(Unit("digits", "realtime", 4, row=7, generation=3))
    selectors = [found["Deployment/digits-realtime"]["spec"]["selector"] for found in (made(), other)]
    assert selectors[0] == selectors[1]


def test_pods_are_told_what_to_note_of_requests_and_no_secret() -> None:
    template = parse_template(yaml.safe_load(SHIPPED.read_text()), "x")
    noting = Noting(LiveRules(7, record=0.05), reader="ab" * 32)
    found = {one["kind"]: one for one in manifests(UNIT, template, {3: "digits/three"}, Versions(), noting)}
    arguments = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"]
    rules = '{"ask_a_day": 40, "ask_below": null, "dataset_id": 7, "record": 0.05}'
    assert arguments[-4:] == ["--live", rules, "--reader", "ab" * 32]
    assert "--live" not in made()["Deployment/digits-realtime"]["spec"]["template"]["spec"]["containers"][0]["args"]


def test_what_scales_by_itself_has_an_autoscaler_and_no_fixed_number() -> None:
    found = made(**{"learnloop/max-replicas": "6", "learnloop/target-cpu-percent": "50"})
    assert "replicas" not in found["Deployment/digits-realtime"]["spec"]
    autoscaler = found["HorizontalPodAutoscaler/digits-realtime"]["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (2, 6)
    assert autoscaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 50


@pytest.mark.parametrize(("percent", "replicas", "beside"), [(10, 2, 1), (10, 18, 2), (50, 4, 4), (1, 200, 2)])
def test_a_canary_has_as_many_pods_as_its_share_asks_for(percent: int, replicas: int, beside: int) -> None:
    unit = Unit("digits", "realtime", 3, row=7, generation=2, canary=4, percent=percent)
    assert unit.canaries(replicas) == beside


def test_a_canary_stands_behind_the_same_service_and_outside_the_other_deployment() -> None:
    found = made(Unit("digits", "realtime", 3, row=7, generation=2, canary=4, percent=10))
    canary = found["Deployment/digits-realtime-canary"]["spec"]
    labels = canary["template"]["metadata"]["labels"]
    assert labels.items() >= found["Service/digits-realtime"]["spec"]["selector"].items()
    stable = found["Deployment/digits-realtime"]["spec"]["selector"]["matchLabels"]
    assert not labels.items() >= stable.items()
    assert canary["template"]["spec"]["containers"][0]["volumeMounts"][0]["subPath"] == "digits/four"
    with pytest.raises(InvalidInput, match="at most 50 percent"):
        made(Unit("digits", "realtime", 3, row=7, generation=2, canary=4, percent=51))


def test_a_share_that_pods_cannot_give_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_SERVING_RUNNER", "kubernetes")
    settings.cache_clear()
    try:
        with pytest.raises(InvalidInput, match="digits:realtime on Kubernetes gets at most 50 percent"):
            canary(None, "digits", "realtime", 4, percent=60, by="eva")  # type: ignore[arg-type]
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_current_leads_to_the_pods_of_an_alias_with_its_version_else_has_its_own() -> None:
    template = load_template(str(SHIPPED))
    wanted = wanted_of("digits", [row("base", 1), row("realtime", 2), row("current", 2, generation=9)])
    assert [unit.alias for unit in wanted.units] == ["base", "realtime"]
    service = current_service(wanted, template)
    assert service is not None
    assert service["metadata"]["name"] == "digits-current"
    assert service["spec"]["selector"]["learnloop/alias"] == "realtime"
    assert order_of(service) == (1, 9)
    alone = wanted_of("digits", [row("base", 1), row("current", 2)])
    assert [unit.alias for unit in alone.units] == ["base", "current"]
    own = current_service(alone, template)
    assert own is not None
    assert own["spec"]["selector"]["learnloop/alias"] == "current"
    assert current_service(wanted_of("digits", [row("base", 1)]), template) is None
    assert wanted_of("digits", [row("base", 1)]).current is None


def test_an_object_says_for_which_row_it_was_made() -> None:
    (service, *_) = made().values()
    assert order_of(service) == UNIT.order == (7, 2)
    assert order_of({"metadata": {}}) == order_of({"metadata": {"annotations": {"learnloop/made-for": "x"}}}) == (0, 0)
    assert made_for(UNIT) != made_for(Unit("digits", "realtime", 3, row=7, generation=3))


@given(model=st.from_regex(NAME, fullmatch=True), other=st.from_regex(NAME, fullmatch=True))
def test_names_are_kubernetes_names_and_tell_models_and_aliases_apart(model: str, other: str) -> None:
    names = [object_name(one, alias) for one in {model, other} for alias in ("base", "realtime", "current")]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(f"{name}-canary") <= 63
        assert name.strip("-") == name
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert name[0].isalpha()


def _without_image(template: dict[str, Any]) -> None:
    del template["spec"]["template"]["spec"]["containers"][0]["image"]


def _without_volume(template: dict[str, Any]) -> None:
    template["spec"]["template"]["spec"]["volumes"] = []


def _as_root(template: dict[str, Any]) -> None:
    template["spec"]["template"]["spec"]["securityContext"] = {"runAsUser": 0}


def _many(template: dict[str, Any]) -> None:
    template["spec"]["replicas"] = "many"
    template["metadata"]["annotations"]["learnloop/max-replicas"] = "0"
    del template["metadata"]["namespace"]


def _no_pod(template: dict[str, Any]) -> None:
    del template["spec"]["template"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_image, ["container named 'model' with an image"]),
        (_without_volume, ["volume 'models' is missing"]),
        (_as_root, ["do not run as root"]),
        (_many, ["spec.replicas is 'many'", "learnloop/max-replicas is '0'", "metadata.namespace is missing"]),
        (_no_pod, ["is no Deployment: it lacks 'template'"]),
    ],
)
def test_a_template_that_cannot_be_used_says_all_that_is_wrong(change: Any, says: list[str]) -> None:
    template = copy.deepcopy(yaml.safe_load(SHIPPED.read_text()))
    change(template)
    with pytest.raises(InvalidInput) as raised:
        parse_template(template, "t.yaml")
    told = str(raised.value) + str(getattr(raised.value, "problems", ""))
    assert all(one in told for one in says), told


def test_no_template_or_none_that_can_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"begin with deploy/kubernetes/serving-template\.yaml"):
        load_template("")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_template(str(tmp_path / "none.yaml"))
