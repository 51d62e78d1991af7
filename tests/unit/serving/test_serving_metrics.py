from __future__ import annotations

from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet


def test_the_text_counts_requests_and_their_latency_cumulatively(model, tmp_path):
    models = ModelSet(lambda name, version: tmp_path, lambda folder: model)
    models.load("coins", 1)
    models.move_alias("coins", "current", 1)
    metrics = Metrics()
    metrics.count("coins", "1", 200, 0.0007)
    metrics.count("coins", "1", 200, 99.0)
    metrics.count('q"', "", 404, 0.0001)
    lines = metrics.text(models).splitlines()
    assert 'learnloop_serving_requests_total{model="coins",version="1",status="200"} 2' in lines
    assert 'learnloop_serving_requests_total{model="q\\"",version="",status="404"} 1' in lines
    assert 'learnloop_serving_request_seconds_bucket{model="coins",le="0.0005"} 0' in lines
    assert 'learnloop_serving_request_seconds_bucket{model="coins",le="0.001"} 1' in lines
    assert 'learnloop_serving_request_seconds_bucket{model="coins",le="+Inf"} 2' in lines
    assert 'learnloop_serving_request_seconds_count{model="coins"} 2' in lines
    assert 'learnloop_serving_alias_version{model="coins",alias="current"} 1' in lines
    assert "learnloop_serving_loaded_versions 1" in lines
