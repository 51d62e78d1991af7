"""How far a rollout is, and what is said of a canary: of answers of the API and of metrics."""

from __future__ import annotations

import json
from typing import Any

import pytest

from learnloop.serving.cluster.judging import Counts, Rules, Watched, judge, read_counts
from learnloop.serving.cluster.looking import ends
from learnloop.serving.cluster.rollout import progress
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet
from learnloop.serving.pinned import REFUSED


def deployment(ready: int, new: int, all_: int, *, seen: int = 2, wanted: int = 2, **more: Any) -> dict[str, Any]:
    counts = {"availableReplicas": ready, "updatedReplicas": new, "replicas": all_}
    status = {"observedGeneration": seen, **counts, **more}
    return {"metadata": {"generation": 2}, "spec": {"replicas": wanted}, "status": status}


def pod(state: dict[str, Any] | None = None, last: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    container = {"name": "model", "state": state or {}, "lastState": last or {}}
    return {"metadata": more, "status": {"containerStatuses": [container], "conditions": []}}


def test_it_is_done_when_every_pod_is_new_and_ready_and_the_controller_has_looked() -> None:
    assert progress(deployment(2, 2, 2), []).done
    for other in (deployment(2, 2, 3), deployment(1, 2, 2), deployment(2, 1, 2), deployment(2, 2, 2, seen=1)):
        assert not progress(other, []).done
    assert not progress({"metadata": {"generation": 1}, "spec": {}}, []).done


REFUSAL = {"terminated": {"exitCode": REFUSED, "message": "Corrupted: the file is cut short"}}


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([pod({"waiting": {"reason": "CrashLoopBackOff"}}, REFUSAL)], "Corrupted: the file is cut short"),
        ([pod(), pod(REFUSAL)], "Corrupted: the file is cut short"),
        (
            [pod({"waiting": {"reason": "InvalidImageName", "message": "no such name"}})],
            "InvalidImageName: no such name",
        ),
    ],
)
def test_a_model_that_was_refused_and_what_no_time_ends_is_told_at_once(pods: list[dict[str, Any]], says: str) -> None:
    found = progress(deployment(2, 1, 3), pods)
    assert found.refused is not None
    assert says in found.refused


def test_a_pod_that_goes_tells_nothing() -> None:
    assert progress(deployment(2, 1, 3), [pod(REFUSAL, deletionTimestamp="now")]).refused is None


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (pod({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}), "ImagePullBackOff: not found"),
        (pod({"running": {}}), "the model is being loaded"),
        (pod({"running": {}}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "exit code 137: OOMKilled"),
        (pod({"waiting": {"reason": "ContainerCreating"}}), "containers are being made"),
    ],
)
def test_what_is_waited_for_is_told(held: dict[str, Any], says: str) -> None:
    found = progress(deployment(2, 1, 3), [held])
    assert found.refused is None
    assert says in found.waits
    assert "2 of 2 pods are ready, 1 of them new" in found.waits


def test_what_keeps_pods_from_being_made_is_told() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: two"}
    assert "no pod can be made: exceeded quota: two" in progress(deployment(2, 0, 2, conditions=[condition]), []).waits
    unscheduled = pod()
    unscheduled["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]
    assert "not scheduled: 0/1 nodes" in progress(deployment(2, 1, 3), [unscheduled]).waits


def counts(requests: int, failed: int = 0, fast: int | None = None) -> Counts:
    """``fast`` of the requests took at most 10 ms, the others at most 1 s."""
    return Counts(requests, failed, {0.01: requests if fast is None else fast, 1.0: requests})


def said(canary: Counts, stable: Counts, elapsed: float = 0, **more: Any) -> Any:
    return judge(canary, stable, Rules(seconds=60, requests=100), version=4, elapsed=elapsed, **more)


def test_failures_beyond_those_beside_it_end_a_canary_before_its_time() -> None:
    assert said(counts(20, 2), counts(200)) is None
    bad = said(counts(20, 3), counts(200))
    assert (bad.good, "3 of 20 requests of version 4 failed, and 0 of 200 beside it" in bad.reason) == (False, True)
    assert said(counts(20, 3), counts(200, 30)) is None  # what is beside it fails as much
    assert said(counts(1000, 4), counts(1000)) is None  # a few of many


def test_slowness_ends_a_canary_once_enough_was_seen() -> None:
    assert said(counts(99, fast=0), counts(500)) is None
    bad = said(counts(100, fast=90), counts(500))
    assert not bad.good
    assert "took up to 1 s, and 0.01 s beside it" in bad.reason
    assert said(counts(100, fast=90), counts(500, fast=400)) is None
    assert said(counts(100, fast=96), counts(500)) is None


def test_at_the_end_it_is_good_or_was_asked_too_seldom() -> None:
    assert said(counts(100), counts(500), elapsed=60).good
    seldom = said(counts(99), counts(500), elapsed=60)
    assert (seldom.good, "too seldom to tell" in seldom.reason) == (False, True)


def test_a_pod_that_ends_by_itself_ends_the_canary() -> None:
    bad = said(counts(0), counts(0), ended=["exit code 139 (Error)"])
    assert (bad.good, "exit code 139" in bad.reason) == (False, True)


def test_counters_are_what_came_since_and_begin_anew_with_a_pod() -> None:
    watched = Watched()
    watched.see("a", counts(1000, 50))
    assert watched.counts == Counts()
    watched.see("a", counts(1010, 51))
    watched.see("a", counts(5, 1))  # started again
    watched.see("b", counts(7))
    watched.see("b", counts(9))
    assert (watched.counts.requests, watched.counts.failed) == (17, 2)
    assert watched.counts.within[1.0] == 17


def test_counters_are_kept_between_looks_and_of_a_servers_own_canary_all_counts() -> None:
    first = Watched()
    first.see("a", counts(10, 2), whole=True)
    assert first.counts == counts(10, 2)
    later = Watched(json.loads(json.dumps(first.stored())))
    later.see("a", counts(13, 3), whole=True)
    later.see("b", counts(1), whole=True)
    assert later.counts == counts(14, 3)


def test_how_a_pod_ended_by_itself_is_read_of_what_it_is_now_or_was_before() -> None:
    killed = {"exitCode": 137, "reason": "OOMKilled", "message": None}
    again = {"lastState": {"terminated": killed}, "state": {"running": {}}}
    over = {"lastState": {}, "state": {"terminated": {"exitCode": 78, "reason": "Error", "message": "Corrupted"}}}
    runs = {"lastState": {}, "state": {"running": {}}}
    said = ends({"status": {"containerStatuses": [again, over, runs]}})
    assert said == ["exit code 137 (OOMKilled)", "exit code 78 (Error): Corrupted"]
    assert ends({"status": {}}) == []


def test_counts_are_read_of_what_a_server_tells() -> None:
    metrics = Metrics(ModelSet(lambda *_: None, lambda _: None))  # type: ignore[arg-type,return-value]
    for status, seconds in ((200, 0.004), (200, 0.02), (503, 0.3), (404, 0.001)):
        metrics.count("digits", "4", status, seconds)
    metrics.count("digits", "3", 200, 2.0)
    assert read_counts(metrics.text().decode()).requests == 5
    assert read_counts(metrics.text().decode(), "birds", 4) == Counts()
    found = read_counts(metrics.text().decode(), "digits", 4)
    assert (found.requests, found.failed) == (4, 1)
    assert (found.within[0.005], found.within[0.5]) == (2, 4)
    assert found.slow == 0.5
