"""Digits as a staged dataset, and a way to run a job's code in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from training_support import write_dataset

from learnloop.jobs.contract import Job, JobResult, Places, prepare, read_result
from learnloop.jobs.spec import JobSpec


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels 0 to 255, float32 (1797, 64), shuffled; and the labels' indices."""
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.target))
    return (loaded.data[order] / 16 * 255).astype(np.float32), loaded.target[order]


@pytest.fixture(scope="session")
def dataset(digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 test samples, 100 labelled training samples, 20 unlabelled."""
    X, y = digits[0][:240], digits[1][:240]
    labels = [str(label) if index < 220 else None for index, label in enumerate(y)]
    splits = ["test" if index < 120 else "train" if index < 220 else None for index in range(240)]
    return write_dataset(tmp_path_factory.mktemp("staged") / "dataset", X, labels, splits)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a job has it: threads of OpenMP that wait for each other on a busy machine take minutes."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def run_job(tmp_path: Path) -> Callable[..., JobResult]:
    """Runs ``work`` with ``inputs`` (name -> folder) staged as links and ``params``."""

    def run(work: Callable[[Job], None], inputs: dict[str, Path], **params: Any) -> JobResult:
        spec = JobSpec(
            module="x", user="ann", params=params, idempotency_key=f"job-{len(list(tmp_path.glob('*/*/*')))}"
        )
        places = Places.of(tmp_path, spec)
        prepare(places, spec)
        for name, folder in inputs.items():
            (places.data / name).symlink_to(folder)
        work(Job(places))
        result = read_result(places)
        assert result is not None
        return result

    return run
