"""Single-row inference: our model server against a bare FastAPI + orjson app with the same model.

Both run as processes side by side, and rounds alternate between them. Run it:

    python tests/benchmarks/serving/bench_serving.py [--seconds 3] [--rounds 5]
"""

from __future__ import annotations

import argparse
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

    server = ModelServer(
        host="127.0.0.1", port=port, database_url=database_url, source_of=lambda name, version: folder, load=load
    )
    server.run()


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


def request_bytes(port: int) -> bytes:
    import orjson
    from sklearn.datasets import load_digits

    row = load_digits().data[0].astype("float32")
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 64], "data": row.tolist()}
    body = orjson.dumps({"inputs": [tensor]})
    head = (
        f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load_server(port: int, request: bytes, clients: int, seconds: float) -> tuple[float, float]:
    """Requests/s and the median latency in ms of keep-alive clients on raw sockets, the cheapest there are."""
    stop = time.perf_counter() + seconds
    latencies: list[list[float]] = [[] for _ in range(clients)]

    def client(mine: list[float]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (sent := time.perf_counter()) < stop:
                connection.sendall(request)
                answer = b""
                while b'"label"' not in answer or not answer.endswith(b"}"):
                    answer += connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200"), answer
                mine.append(time.perf_counter() - sent)

    threads = [threading.Thread(target=client, args=(mine,)) for mine in latencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [latency for mine in latencies for latency in mine]
    return len(times) / seconds, statistics.median(times) * 1000


def wait_for(port: int, request: bytes, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
                if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the server on port {port} does not answer")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def compare(seconds: float, rounds: int) -> None:
    from learnloop.stack import postgres as embedded

    place = Path(tempfile.mkdtemp(prefix="learnloop-bench-", dir="/tmp"))
    postgres = embedded.library().get_server(place / "pg", cleanup_mode="stop")
    servers: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    try:
        database_url = postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        save_model(place / "model")
        deploy_model(database_url)
        for role in ("bare", "ours"):
            port = free_port()
            command = [sys.executable, __file__, "--role", role, "--port", str(port), "--model", str(place / "model")]
            command += ["--database-url", database_url]
            servers[role] = (port, subprocess.Popen(command, env={**os.environ, **THREADS}))
        for port, process in servers.values():
            wait_for(port, request_bytes(port), process)
        print("Single-row inference of an MLP(64), requests/s (median of rounds) and p50 latency")
        for clients in (1, 8):
            measured: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
            for _ in range(rounds):
                for role, (port, _) in servers.items():
                    measured[role].append(load_server(port, request_bytes(port), clients, seconds))
            ratios = [bare[0] / ours[0] for bare, ours in zip(measured["bare"], measured["ours"], strict=True)]
            for role, results in measured.items():
                rate = statistics.median(result[0] for result in results)
                latency = statistics.median(result[1] for result in results)
                print(f"  {clients} clients  {role}: {rate:7.0f}/s  p50 {latency:6.2f} ms")
            ratio = statistics.median(ratios)
            spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
            verdict = "ok" if ratio <= REACH else "MISSED"
            print(f"  {clients} clients  bare / ours = {ratio:.2f} ({spread}); reach {REACH}: {verdict}")
    finally:
        for _, process in servers.values():
            process.terminate()
            process.wait(timeout=40)
        postgres.stop()
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
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
        compare(asked.seconds, asked.rounds)


if __name__ == "__main__":
    main()
