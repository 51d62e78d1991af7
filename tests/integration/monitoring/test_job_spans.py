"""A job's span says how the job ended, however it ended; that it cannot be sent changes nothing of the job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowTaskTerminated, AirflowTaskTimeout
from otlp_receiver import Receiver, receiving

from learnloop.jobs.spec import JobSpec
from learnloop_airflow import tracing

TRACE, TASK = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SPEC = JobSpec(schema_version=1, user="ann", module="pets.train", idempotency_key="k")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Airflow's tracing can be set up once in a process, and for all of it: here its task's place is given instead."""
    monkeypatch.setattr(tracing, "active", lambda: True)
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{TASK}-01")
    with receiving() as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("it does not fit"), "it does not fit"),
        (AirflowTaskTimeout("Timeout, PID: 7"), "Timeout, PID: 7"),
        (AirflowTaskTerminated("killed"), "killed"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_job_that_did_not_end_well_is_told_so(
    receiver: Receiver, tmp_path: Path, raised: BaseException, said: str
) -> None:
    with pytest.raises(type(raised)), tracing.traced_job(SPEC, tmp_path):
        raise raised
    span = receiver.span("job pets.train", TRACE)
    assert (span.parent, span.error) == (TASK, said)


@pytest.mark.usefixtures("receiver")
def test_a_span_that_cannot_be_sent_fails_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "nonsense")
    with tracing.traced_job(SPEC, tmp_path) as own:
        assert own is not None
    assert f"the spans of job {SPEC.key} could not be sent" in caplog.text
    assert "OTEL_TRACES_EXPORTER is 'nonsense'; there are" in caplog.text
    with pytest.raises(ValueError, match="it does not fit"), tracing.traced_job(SPEC, tmp_path):  # the job's own error
        raise ValueError("it does not fit")
