"""A forked job is what a started one is: same result, nothing inherited, and nothing of it outlives its runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from learnloop.errors import JobFailed
from learnloop.jobs import forkserver
from learnloop.jobs.local import LocalRunner
from learnloop.jobs.process import ForkedProcess
from learnloop.jobs.spec import JobSpec, parse_spec

pytestmark = pytest.mark.timeout(900)

JOBS = {
    "tell": "import os, sys\nprint(sorted(os.environ), os.getcwd(), sys.argv, sorted(os.listdir('/proc/self/fd')))\n",
    "refuse": "raise SystemExit('out of paper')\n",
    "crash": "import os\nos.kill(os.getpid(), 9)\n",
    # A child and a grandchild in a session of its own, all deaf to SIGTERM.
    "family": """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for session in (False, True):
    subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", os.environ["MARKER"]],
        start_new_session=session)
print("started", os.getpid(), flush=True)
time.sleep(600)
""",
}


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def marked(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text.encode() in (entry / "cmdline").read_bytes() and alive(int(entry.name)):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def start_server(name: str, folder: Path) -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-m", "learnloop.jobs.forkserver", name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
    )
    eventually(lambda: forkserver.answers(name))
    return started


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    for name, code in JOBS.items():
        (folder / f"{name}_job.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def server(jobs: Path) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    started = start_server(name, jobs)
    yield name
    assert started.poll() is None  # whatever the jobs did
    started.terminate()
    started.wait(20)


def forked(server: str, module: str, folder: Path, **environment: str) -> ForkedProcess:
    return ForkedProcess(module, server=server, environment=environment, threads=1, cwd=folder, grace_seconds=0.3)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Forty samples of two classes that a line separates."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "pairs", "classes": ["low", "high"]}))
    ids = [f"s{n:02d}" for n in range(40)]
    labels = ["low" if n % 2 else "high" for n in range(40)]
    splits = ["test" if n < 10 else "train" for n in range(40)]
    pq.write_table(pa.table({"sample_id": ids, "label": labels, "split": splits}), folder / "annotations.parquet")
    values = [[float(n % 2) + n / 1000, float(n) / 40] for n in range(40)]
    features = pa.array(values, pa.list_(pa.float32()))
    pq.write_table(pa.table({"sample_id": ids, "features": features}), folder / "features.parquet")
    return folder


def training(key: str, **params: object) -> JobSpec:
    return parse_spec({"module": "learnloop.training.train", "params": params, "user": "ann", "idempotency_key": key})


def test_a_forked_training_gives_what_a_started_one_gives(server: str, dataset: Path, tmp_path: Path) -> None:
    def stage(data: Path) -> None:
        (data / "dataset").symlink_to(dataset)

    results, lines = [], []
    for number, fork_server in enumerate((server, "")):
        runner = LocalRunner(tmp_path / "namespaces", fork_server=fork_server)
        done = runner.run(training(f"k{number}", max_epochs=20), stage=stage, log=lines.append)
        results.append({name: value for name, value in done.result.items() if "seconds" not in name})
        assert done.path("models/model/MLmodel").is_file()
    # Where in memory an array lies decides the order of some sums: the last digits of the loss may differ.
    losses = [found["metrics"].pop("loss") for found in results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert results[0] == results[1]
    assert not any("does not answer" in line for line in lines)


def test_a_job_inherits_nothing(server: str, jobs: Path, tmp_path: Path) -> None:
    with forked(server, "tell_job", tmp_path, MINE="1") as process:
        (line,) = process.lines(30)
        assert process.wait() == 0
    # Descriptor 3 is the listing of the folder itself.
    assert line.decode() == f"['MINE'] {tmp_path} ['{jobs}/tell_job.py'] ['0', '1', '2', '3']"


def test_errors_and_signals_are_told(server: str, tmp_path: Path) -> None:
    with forked(server, "refuse_job", tmp_path) as process:
        assert list(process.lines(30)) == [b"out of paper"]
        assert process.wait() == 1
    with forked(server, "crash_job", tmp_path) as process:
        assert list(process.lines(30)) == []
        assert process.wait() == 137
    with forked(server, "no_such_job", tmp_path) as process:
        assert b"No module named no_such_job" in list(process.lines(30))[-1]
        assert process.wait() == 1


def test_stopping_and_timeout_kill_the_whole_family(server: str, tmp_path: Path) -> None:
    with forked(server, "family_job", tmp_path, MARKER=str(tmp_path)) as process:
        lines = process.lines(1)
        job = int(next(lines).split()[1])
        with pytest.raises(TimeoutError):
            list(lines)
    assert not alive(job)
    assert marked(str(tmp_path)) == []


@pytest.mark.parametrize("victim", ["runner", "guardian", "server"])
def test_what_a_sigkill_leaves(jobs: Path, tmp_path: Path, victim: str) -> None:
    name = f"test-{uuid.uuid4().hex}"
    server = start_server(name, jobs)
    program = f"""
from pathlib import Path
from learnloop.jobs.process import ForkedProcess
with ForkedProcess("family_job", server={name!r}, environment={{"MARKER": {str(tmp_path)!r}}}, threads=1,
                   cwd=Path({str(tmp_path)!r}), grace_seconds=0.3) as process:
    print(process._guardian_id, flush=True)
    for line in process.lines(60):
        print(line.decode(), flush=True)
    print("code", process.wait(), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        guardian = int(runner.stdout.readline())
        job = int(runner.stdout.readline().split()[1])
        if victim == "guardian":
            os.kill(guardian, signal.SIGKILL)
            assert runner.stdout.readline() == "code 137\n"
            runner.wait(20)
            eventually(lambda: not alive(job))
            for left in marked(str(tmp_path)):  # only what left the group, as with a started job
                assert os.getsid(left) == left
                os.kill(left, signal.SIGKILL)
        else:
            if victim == "server":
                server.kill()
                server.wait()
                assert alive(job)  # a job does not need the server any more
            runner.kill()
            eventually(lambda: not alive(job) and marked(str(tmp_path)) == [])
    server.kill()
    server.wait()


def test_without_a_server_jobs_start_anew(dataset: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    runner = LocalRunner(tmp_path / "namespaces", fork_server=f"nobody-{uuid.uuid4().hex}")
    with pytest.raises(JobFailed, match=r"dataset.yaml is missing"):
        runner.run(training("k"), stage=lambda data: None, log=lines.append)
    assert "the fork server does not answer" in lines[0]
