"""Where a process is in a trace: read, handed on, and nothing where nothing is traced."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from learnloop.traces.context import TraceContext, current, headers, parse, said_run

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_what_is_read_is_written_alike() -> None:
    found = parse(GIVEN)
    assert found == TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)
    assert str(found) == GIVEN
    assert found.child("00f067aa0ba902b8") == TraceContext(found.trace_id, "00f067aa0ba902b8", True)
    assert found.child().trace_id == found.trace_id
    assert found.child() != found.child()


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00",
        GIVEN.upper(),
        GIVEN + "-00",
        GIVEN.replace("00-4", "ff-4", 1),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GIVEN + "\n\r\nX: y",
        "٠٠" + GIVEN[2:],
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(wrong: str) -> None:
    assert parse(wrong) is None


def test_a_process_that_is_not_traced_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    assert current() is None
    assert headers() == {}


def test_a_job_finds_its_place_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", GIVEN)
    assert headers() == {"traceparent": GIVEN}


def test_a_task_says_its_run() -> None:
    from airflow.sdk.execution_time.context import context_to_airflow_vars

    def environment(run_id: str) -> dict[str, str]:
        """As Airflow makes it for a task."""
        run = SimpleNamespace(run_id=run_id)
        return dict(context_to_airflow_vars({"dag_run": run}, in_env_var_format=True))

    run_id = "manual__2026-05-02T00:00:00+00:00"
    assert headers(environment(run_id)) == {"X-Run-ID": run_id}
    assert headers({"TRACEPARENT": GIVEN, **environment("r")}) == {"traceparent": GIVEN, "X-Run-ID": "r"}
    assert headers(environment("the 轮")) == {}  # no header can hold it
    assert said_run(run_id) == {"run_id": run_id}
    assert said_run("r\nlevel=error") == said_run("") == said_run("r" * 251) == {}


def test_a_span_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setenv("TRACEPARENT", GIVEN)
    with provider.get_tracer("t").start_as_current_span("here") as span:
        assert headers()["traceparent"] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert headers() == {"traceparent": GIVEN}
