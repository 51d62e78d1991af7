"""Inference: our model server beside a bare FastAPI + orjson app, and MLServer, with the same model. Start-up and memory.

All run as processes side by side, and rounds alternate between them. Run it:

    python tests/benchmarks/serving/bench_serving.py [--seconds 3] [--rounds 5] [--mlserver PYTHON]

PYTHON is an interpreter with mlserver, scikit-learn and skops (`make bench` makes one); without it MLServer is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from fastapi import FastAPI, Request, Response

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
REACH = 1.3
ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent


def run_bare(folder: Path, port: int) -> None:
    """The least that serves the same model: no checks, no counters, no swaps."""
    import numpy as np
    import orjson
    import uvicorn

    from learnloop.training.models import load

    model = load(folder)
    app = FastAPI()

    @app.post("/v2/models/digits/infer")
    async def infer(request: Request) -> Response:
        tensor = orjson.loads(await request.body())["inputs"][0]
        features = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        probabilities = model.predict_proba(features).astype(np.float32)
        labels = [model.classes[index] for index in probabilities.argmax(axis=1)]
        rows, columns = probabilities.shape
        content = {
            "model_name": "digits",
            "model_version": "1",
            "outputs": [
                {
                    "name": "probabilities",
                    "datatype": "FP32",
                    "shape": [rows, columns],
                    "data": probabilities.ravel(),
                },
                {"name": "label", "datatype": "BYTES", "shape": [rows], "data": labels},
            ],
        }
        return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


def run_ours(folder: Path, port: int, database_url: str) -> None:
    from learnloop.serving.server import ModelServer
    from learnloop.training.models import load

    ModelServer(
        host="127.0.0.1",
        port=port,
        database_url=database_url,
        source_of=lambda name, version: folder,
        load=load,
    ).run()


def mlserver_command(python: Path, place: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """How MLServer is started: in one process, which for such a model is its fastest way."""
    folder = place / "mlserver"
    folder.mkdir()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    server = {"host": "127.0.0.1", **ports, "parallel_workers": 0, "debug": False}
    model = {
        "name": "digits",
        "implementation": "mlserver_digits.Digits",
        "parameters": {"uri": str(place / "model"), "version": "1"},
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return [str(python.parent / "mlserver"), "start", str(folder)], {
        **kept,
        **THREADS,
        "PYTHONPATH": f"{ROOT / 'include'}{os.pathsep}{HERE}",
    }


def save_model(folder: Path) -> None:
    """A scaled MLP(64) on digits, as a folder in MLflow's layout."""
    import skops.io
    import yaml
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = load_digits(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=200, random_state=0))
    pipeline.fit(images, labels.astype(str))
    del pipeline[-1]._optimizer  # the state of Adam: not needed to predict, and not a type that may be loaded
    folder.mkdir()
    skops.io.dump(pipeline, folder / "model.skops")
    flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))


def deploy_model(database_url: str) -> None:
    from learnloop.database import Base, Dataset, engine, session
    from learnloop.models.deployment import deploy

    Base.metadata.create_all(engine(database_url))
    with session(database_url) as opened:
        dataset = Dataset(name="digits", task_type="image_classification", owner="bench")
        opened.add(dataset)
        opened.flush()
        deploy(opened, dataset_id=dataset.id, model_name="digits", alias="current", version=1, owner="bench")


def request_bytes(port: int, count: int = 1) -> bytes:
    import orjson
    from sklearn.datasets import load_digits

    rows = load_digits().data[:count].astype("float32")
    tensor = {"name": "features", "datatype": "FP32", "shape": [count, 64], "data": rows.ravel().tolist()}
    body = orjson.dumps({"inputs": [tensor]})
    head = (
        f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load_server(port: int, request: bytes, clients: int, seconds: float) -> tuple[float, float, float]:
    """Requests/s, and the median and 95th percentile of latency in ms, of keep-alive clients on raw sockets."""
    stop = time.perf_counter() + seconds
    latencies: list[list[float]] = [[] for _ in range(clients)]

    def client(mine: list[float]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (sent := time.perf_counter()) < stop:
                connection.sendall(request)
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                left = int(lengths[0].split(b":")[1]) - len(body)
                while left > 0:
                    left -= len(connection.recv(65536))
                mine.append(time.perf_counter() - sent)

    threads = [threading.Thread(target=client, args=(mine,)) for mine in latencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = sorted(latency for mine in latencies for latency in mine)
    return len(times) / seconds, statistics.median(times) * 1000, times[int(0.95 * len(times))] * 1000


def wait_for(port: int, request: bytes, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
                if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"the server on port {port} does not answer:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def memory_mib(process: subprocess.Popen[bytes]) -> float:
    """What the process and its children hold: memory they share is counted once."""
    import psutil

    parent = psutil.Process(process.pid)
    return sum(one.memory_full_info().pss for one in (parent, *parent.children(recursive=True))) / 2**20


def compare(seconds: float, rounds: int, mlserver: Path | None) -> None:
    from learnloop.stack import postgres as embedded

    place = Path(tempfile.mkdtemp(prefix="learnloop-bench-", dir="/tmp"))
    postgres = embedded.library().get_server(place / "pg", cleanup_mode="stop")
    servers: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    try:
        database_url = postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        save_model(place / "model")
        deploy_model(database_url)
        roles = ["bare", "ours", *(["mlserver"] if mlserver else [])]
        print(f"load before: {os.getloadavg()[0]:.1f}; {os.cpu_count()} processors")
        print("Start to the first answer, and memory then")
        for role in roles:
            port = free_port()
            environment = {**os.environ, **THREADS}
            command = [sys.executable, __file__, "--role", role, "--port", str(port), "--model", str(place / "model")]
            command += ["--database-url", database_url]
            if role == "mlserver" and mlserver is not None:
                command, environment = mlserver_command(mlserver, place, port)
            started = time.perf_counter()
            output = place / f"{role}.log"
            with output.open("wb") as log:
                process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            servers[role] = (port, process)
            wait_for(port, request_bytes(port), process, output)
            print(f"  {role:>8}: {time.perf_counter() - started:5.1f} s  {memory_mib(process):5.0f} MiB")
        for rows, clients in ((1, 1), (1, 8), (256, 8)):
            print(f"{rows} row(s) of an MLP(64), {clients} client(s): medians of {rounds} rounds")
            measured: dict[str, list[tuple[float, float, float]]] = {role: [] for role in roles}
            for _ in range(rounds):
                for role, (port, _) in servers.items():
                    measured[role].append(load_server(port, request_bytes(port, rows), clients, seconds))
            for role, results in measured.items():
                rate, p50, p95 = (statistics.median(result[part] for result in results) for part in range(3))
                print(f"  {role:>8}: {rate:7.0f}/s  p50 {p50:6.2f} ms  p95 {p95:6.2f} ms")
            for role in roles:
                if role != "ours":
                    _print_ratio(role, measured[role], measured["ours"], reach=REACH if role == "bare" else 1.0)
        print(f"load after: {os.getloadavg()[0]:.1f}")
    finally:
        for _, process in servers.values():
            process.terminate()
            process.wait(timeout=40)
        postgres.stop()
        shutil.rmtree(place, ignore_errors=True)


def _print_ratio(
    role: str, theirs: list[tuple[float, float, float]], ours: list[tuple[float, float, float]], *, reach: float
) -> None:
    ratios = [one[0] / other[0] for one, other in zip(theirs, ours, strict=True)]
    ratio = statistics.median(ratios)
    verdict = "ok" if ratio <= reach else "MISSED"
    print(f"  {role} / ours = {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}); reach {reach}: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mlserver", type=Path, help="a Python that has mlserver")
    parser.add_argument("--role", choices=("bare", "ours"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--database-url")
    asked = parser.parse_args()
    if asked.role == "bare":
        run_bare(asked.model, asked.port)
    elif asked.role == "ours":
        run_ours(asked.model, asked.port, asked.database_url)
    else:
        compare(asked.seconds, asked.rounds, asked.mlserver)


if __name__ == "__main__":
    main()
