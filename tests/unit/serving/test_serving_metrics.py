from __future__ import annotations

from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet


def test_the_text_counts_requests_and_their_latency_cumulatively(model, tmp_path):
    models = ModelSet(lambda name, version: tmp_path, lambda folder: model)
    models.load("coins", 1)
    models.move_alias("coins", "current", 1)
    metrics = Metrics(models)
    metrics.count("coins", "1", 200, 0.0007)
    metrics.count("coins", "1", 200, 99.0)
    metrics.count('q"', "", 404, 0.0001)
    lines = metrics.text().decode().splitlines()
    assert 'learnloop_serving_requests_total{model="coins",status="200",version="1"} 2.0' in lines
    assert 'learnloop_serving_requests_total{model="q\\"",status="404",version=""} 1.0' in lines
    assert 'learnloop_serving_request_seconds_bucket{le="0.0005",model="coins",version="1"} 0.0' in lines
    assert 'learnloop_serving_request_seconds_bucket{le="0.001",model="coins",version="1"} 1.0' in lines
    assert 'learnloop_serving_request_seconds_bucket{le="+Inf",model="coins",version="1"} 2.0' in lines
    assert 'learnloop_serving_request_seconds_count{model="coins",version="1"} 2.0' in lines
    assert 'learnloop_serving_alias_version{alias="current",model="coins"} 1.0' in lines
    assert "learnloop_serving_loaded_versions 1.0" in lines
