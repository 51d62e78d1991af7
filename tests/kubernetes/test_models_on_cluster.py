"""Model versions as Deployments on a real cluster: rolled without a failed request, refused when broken, taken back."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from model_pods import ALSO_GOOD, DAMAGED, ERRING, GOOD, SLOW, Models, asking
from proxy import ApiProxy
from waits import eventually

from learnloop.errors import Conflict, Unavailable
from learnloop.serving.cluster.objects import connect
from learnloop.serving.cluster.served import Refused

pytestmark = pytest.mark.timeout(900)


def test_an_alias_is_served_and_rolled_under_load_and_a_broken_model_gets_no_request(models: Models) -> None:
    changed = models.deploy(GOOD, "realtime", "current")
    assert changed == [
        "Service/digits-realtime",
        "Deployment/digits-realtime",
        "PodDisruptionBudget/digits-realtime",
        "Service/digits-current",
    ]
    assert models.deploy(GOOD, "realtime", "current") == []  # again, it changes nothing
    for alias in ("realtime", "current"):
        models.leads_to(alias, GOOD)

    with asking(models.url("realtime")) as asked:
        asked.wait_for_more(50)
        models.deploy(ALSO_GOOD, "realtime", "current")
        asked.wait_for_more(50)
        with pytest.raises(Refused, match=r"Corrupted: .*model\.skops"):
            models.deploy(DAMAGED, "realtime")
        assert models.versions_of_pods().count(str(ALSO_GOOD)) >= 2
        models.deploy(ALSO_GOOD, "realtime", "current")
        asked.wait_for_more(50)
    assert asked.failed == []
    assert set(asked.answered) == {GOOD, ALSO_GOOD}


@pytest.mark.timeout(1200)
def test_ten_rolls_under_load_fail_no_request(models: Models) -> None:
    models.deploy(GOOD, "realtime", "current")
    models.answers("realtime")
    with asking(models.url("realtime"), callers=4) as asked:
        for turn in range(10):
            asked.wait_for_more(50)
            models.deploy((ALSO_GOOD, GOOD)[turn % 2], "realtime", "current")
        asked.wait_for_more(50)
    print(f"answered {dict(asked.answered)}, failed {len(asked.failed)}")
    assert asked.failed == []


def test_a_pod_is_locked_down_and_evictions_leave_enough(models: Models) -> None:
    models.deploy(GOOD, "base")
    pods = models.cluster.pods()
    (container,) = pods[0]["spec"]["containers"]
    assert pods[0]["spec"]["automountServiceAccountToken"] is False
    assert pods[0]["spec"]["securityContext"]["runAsUser"] == 65532
    assert pods[0]["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}

    eventually(lambda: models.evict(pods[0]) == 201)  # once the disruption controller has counted
    assert models.evict(pods[1]) == 429


def test_what_is_another_persons_stays_and_an_alias_that_goes_takes_only_ours(models: Models) -> None:
    models.cluster.kubectl("create", "service", "clusterip", "digits-base", "--tcp=80")
    with pytest.raises(Conflict, match=r"Service digits-base in namespace .* was not made by Learnloop"):
        models.deploy(GOOD, "base", timeout=5)
    models.cluster.kubectl("delete", "service", "digits-base")
    models.cluster.kubectl("create", "service", "clusterip", "theirs", "--tcp=80")
    models.template = replace(models.template, max_replicas=4, replicas=1)
    models.deploy(GOOD, "base", "realtime", "current")
    assert models.names("hpa") == ["digits-base", "digits-realtime"]  # the API server takes it
    models.leads_to("current", GOOD)

    removed = models.withdraw("realtime")
    kinds = ("Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Deployment")
    assert {f"{kind}/digits-realtime" for kind in kinds} <= set(removed)
    assert models.names("service") == ["digits-base", "digits-current", "theirs"]
    assert models.names("deployment") == models.names("hpa") == models.names("pdb") == ["digits-base"]
    models.leads_to("current", GOOD)  # it leads to the pods of `base` now


def test_a_rollout_that_stalls_says_what_it_waits_for_and_the_old_goes_on(models: Models) -> None:
    models.deploy(GOOD, "base")
    sound = models.template
    for changes, says in (
        ({"container": {**sound.container, "image": "learnloop/serving:none"}}, "ImagePull|ErrImage"),
        ({"pod": {**sound.pod, "nodeSelector": {"learnloop-test/none": "x"}}}, "not scheduled: .*node"),
    ):
        models.template = replace(sound, **changes)
        with pytest.raises(Unavailable, match=says):
            models.deploy(ALSO_GOOD, "base", timeout=8)
        models.template = sound
        models.deploy(GOOD, "base")
        models.leads_to("base", GOOD)


def test_a_canary_that_errs_is_told_from_the_pods_metrics_and_ended(models: Models) -> None:
    models.deploy(GOOD, "realtime", "current")
    models.answers("realtime")
    models.canary(ERRING, 30)
    assert models.names("deployment") == ["digits-realtime", "digits-realtime-canary"]
    with asking(models.url("realtime")) as asked:
        found = models.watch(seconds=60)
    assert not found.good
    assert "requests of version 4 failed, and 0 of" in found.reason
    assert all("Unavailable" in failed or "500" in failed for failed in asked.failed)
    models.canary(None)
    assert models.names("deployment") == ["digits-realtime"]

    models.canary(ALSO_GOOD, 30)
    with asking(models.url("realtime")) as asked:
        found = models.watch(seconds=8)
    assert found.good, found
    assert asked.failed == []
    assert asked.answered[ALSO_GOOD] > 0


def test_a_canary_that_is_slow_is_told_from_the_pods_metrics_though_it_answers_all(models: Models) -> None:
    models.deploy(GOOD, "realtime", "current")
    models.answers("realtime")
    models.canary(SLOW, 30)
    with asking(models.url("realtime")) as asked:
        found = models.watch(seconds=90)
    assert not found.good
    assert re.search(r"95 % of \d+ requests of version 5 took up to 0\.\d+ s, and 0\.\d+ s beside it", found.reason), (
        found
    )
    assert asked.failed == []
    assert asked.answered[SLOW] >= 30
    models.canary(None)
    assert models.names("deployment") == ["digits-realtime"]
    models.leads_to("realtime", GOOD)


def test_a_rollout_and_a_canary_outlast_an_api_server_that_is_away(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away for those who deploy and watch: the rollout goes on, and nothing is taken back for it."""
    models.deploy(GOOD, "realtime", "current")
    models.answers("realtime")
    with ApiProxy(models.cluster.kubeconfig, models.cluster.home / "by-proxy.conf") as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig))
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(proxy.kubeconfig)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        models.client = connect()
        with asking(models.url("realtime"), callers=6) as asked, ThreadPoolExecutor(1) as pool:
            deploying = pool.submit(models.deploy, ALSO_GOOD, "realtime", "current")
            eventually(lambda: "changed Deployment digits-realtime" in models.said)
            proxy.stop()
            eventually(lambda: "does not answer" in models.said[-1])
            asked.wait_for_more(100)
            assert not deploying.done()
            proxy.start()
            deploying.result(180)
            models.leads_to("realtime", ALSO_GOOD)
            models.canary(GOOD, 30)
            watching = pool.submit(models.watch, seconds=20, requests=5)
            proxy.stop()
            gone = time.monotonic()
            eventually(lambda: "does not answer" in models.said[-1])
            asked.wait_for_more(100)
            eventually(lambda: time.monotonic() - gone > 22)  # longer than it is to be watched
            assert not watching.done()
            proxy.start()
            found = watching.result(180)
        assert found.good, found
        assert asked.failed == []
    assert [row.model_version for row in models.rows()] == [ALSO_GOOD, ALSO_GOOD]
