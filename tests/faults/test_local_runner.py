"""The local runner's promises: a key trains once, no process outlives its runner, a retry recovers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from learnloop.errors import Conflict, JobFailed, JobKilled
from learnloop.jobs.contract import read_progress
from learnloop.jobs.local import LocalRunner
from learnloop.jobs.spec import JobSpec

# Says on a file outside its folders that it ran, then commits one output.
TRAIN = """
import os, sys
from pathlib import Path
from learnloop.jobs.contract import Job
job = Job.current()
with open(job.params["runs"], "a") as runs:
    runs.write("ran\\n")
print("hello", "LEARNLOOP_DATABASE_URL" in os.environ, os.environ["OMP_NUM_THREADS"])
seen = (job.checkpoint_dir / "epoch").exists()
job.progress(epoch=1)
(job.checkpoint_dir / "epoch").write_text("1")
if job.params.get("crash") and not seen:
    os.kill(os.getpid(), 9)
output = job.places.models / "model" / "weights"
output.parent.mkdir()
output.write_text((job.places.data / "input").read_text())
job.finish({"resumed": seen}, [job.places.models / "model"])
"""

# A job with a child and a grandchild that left the process group; both ignore SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for session in (False, True):
    subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", sys.argv[1]],
        start_new_session=session)
print("started", flush=True)
time.sleep(600)
"""


def spec(tmp_path: Path, code: str = TRAIN, **fields: object) -> JobSpec:
    values: dict[str, object] = {
        "command": (sys.executable, "-c", code, str(tmp_path)),
        "params": {"runs": str(tmp_path / "runs")},
        "outputs": ("models/model",),
        "user": "Ann Example",
        "idempotency_key": "round-1",
        "timeout_seconds": 30,
    }
    return JobSpec.model_validate(values | fields)


def stage(data: Path) -> None:
    (data / "input").write_text("weights")


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    return LocalRunner(tmp_path / "namespaces", grace_seconds=0.3)


def runs(tmp_path: Path) -> int:
    path = tmp_path / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def processes_naming(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if text.encode() in command and state != "Z":
                found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def test_same_key_trains_once_and_the_environment_is_minimal(
    runner: LocalRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", "secret")
    lines: list[str] = []
    first = runner.run(spec(tmp_path), stage=stage, log=lines.append)
    second = runner.run(spec(tmp_path), stage=stage, log=lines.append)
    assert runs(tmp_path) == 1
    assert first == second
    assert first.path("models/model/weights").read_text() == "weights"
    assert lines[0] == "hello False 1"
    assert "using its result" in lines[-1]
    assert (first.places.results / "job.log").read_text() == "hello False 1\n"
    assert [line["epoch"] for line in read_progress(first.places.results)] == [1]
    assert not first.places.data.exists()
    with pytest.raises(Conflict, match="other work"):
        runner.run(spec(tmp_path, seed=7), stage=stage, log=lines.append)


def test_two_concurrent_runs_train_once(tmp_path: Path) -> None:
    def run(_: int) -> object:
        return LocalRunner(tmp_path / "namespaces").run(spec(tmp_path), stage=stage, log=lambda line: None)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert runs(tmp_path) == 1
    assert all(result == results[0] for result in results)


def test_retry_after_a_crash_finds_its_checkpoint(runner: LocalRunner, tmp_path: Path) -> None:
    crashing = spec(tmp_path, params={"runs": str(tmp_path / "runs"), "crash": True})
    with pytest.raises(JobKilled, match=r"signal 9.*\n  hello"):
        runner.run(crashing, stage=stage, log=lambda line: None)
    assert runner.run(crashing, stage=stage, log=lambda line: None).result == {"resumed": True}
    assert runs(tmp_path) == 2


def test_a_corrupted_output_is_noticed_and_made_again(runner: LocalRunner, tmp_path: Path) -> None:
    result = runner.run(spec(tmp_path), stage=stage, log=lambda line: None)
    result.path("models/model/weights").write_text("Weights")
    lines: list[str] = []
    runner.run(spec(tmp_path), stage=stage, log=lines.append)
    assert "models/model/weights does not match its checksum" in lines[0]
    assert result.path("models/model/weights").read_text() == "weights"
    assert runs(tmp_path) == 2


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('no result')", "no result.json"),
        ("raise SystemExit('out of paper')", r"exit code 1; its last lines:\n  out of paper"),
        (TRAIN + "raise SystemExit(3)", "exit code 3"),
        ("from learnloop.jobs.contract import Job; Job.current().finish({})", "promises: models/model"),
    ],
)
def test_a_job_without_a_valid_result_fails_each_time(
    runner: LocalRunner, tmp_path: Path, code: str, message: str
) -> None:
    for _ in range(2):
        with pytest.raises(JobFailed, match=message):
            runner.run(spec(tmp_path, code), stage=stage, log=lambda line: None)


def test_a_command_that_does_not_exist_is_named(runner: LocalRunner, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="cannot run no-such-program"):
        runner.run(spec(tmp_path, command=("no-such-program",)), stage=stage, log=lambda line: None)


def test_timeout_kills_the_whole_family(runner: LocalRunner, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"timeout of 4 s.*\n  started"):
        runner.run(spec(tmp_path, FAMILY, timeout_seconds=4), stage=stage, log=lambda line: None)
    assert processes_naming(str(tmp_path)) == []


def test_kill_from_another_thread_ends_the_job(runner: LocalRunner, tmp_path: Path) -> None:
    started = threading.Event()

    def log(line: str) -> None:
        started.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, spec(tmp_path, FAMILY), stage=stage, log=log)
        assert started.wait(15)
        runner.kill()
        with pytest.raises(JobFailed, match="was killed"):
            running.result()
    assert processes_naming(str(tmp_path)) == []


def test_an_error_in_the_caller_ends_the_job(runner: LocalRunner, tmp_path: Path) -> None:
    def log(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(spec(tmp_path, FAMILY), stage=stage, log=log)
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.parametrize("victim", ["runner", "guardian"])
def test_no_process_outlives_a_sigkill(tmp_path: Path, victim: str) -> None:
    program = f"""
import sys
from pathlib import Path
from learnloop.jobs.local import LocalRunner
from learnloop.jobs.spec import JobSpec
spec = JobSpec(command=(sys.executable, "-c", {FAMILY!r}, {str(tmp_path)!r}), user="ann", idempotency_key="k")
LocalRunner(Path({str(tmp_path)!r}) / "n", grace_seconds=0.3).run(spec, stage=lambda data: None, log=print)
"""
    with subprocess.Popen(
        [sys.executable, "-uc", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        (guardian,) = [pid for pid in processes_naming("guardian.py") if pid in processes_naming(str(tmp_path))]
        if victim == "runner":
            parent.kill()
            eventually(lambda: processes_naming(str(tmp_path)) == [])
        else:
            os.kill(guardian, signal.SIGKILL)
            assert parent.wait(15) != 0
            # What left the group is out of reach now: neither its guardian nor its group can find it.
            for pid in processes_naming(str(tmp_path)):
                assert os.getsid(pid) == pid
                os.kill(pid, signal.SIGKILL)
