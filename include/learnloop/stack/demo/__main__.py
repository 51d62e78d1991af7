"""`make demo`: start the stack, run four rounds of the loop on scikit-learn's digits, say what happened."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from learnloop.client import LearnloopClient
from learnloop.database import Annotation, ConfirmedAnnotation, Dataset, Decision, Round
from learnloop.database.engine import session
from learnloop.errors import LearnloopError, NotAuthenticated
from learnloop.settings import Settings, load
from learnloop.stack import __main__ as stack
from learnloop.stack.demo import baseline, digits, report
from learnloop.stack.demo.airflow import AirflowClient, RunFailed
from learnloop.stack.demo.annotators import ScriptedAnnotator
from learnloop.stack.initialise import set_users
from learnloop.stack.places import Places, write_private

ROUNDS = 4
BUDGET = 40
ERROR_RATE = 0.03
USERS = {"demo-scientist": "scientist", "demo-annotator": "annotator", "demo-second": "annotator"}
ROUND_SECONDS = 180


def main() -> int:
    places = Places(Path(os.environ.get("LEARNLOOP_HOME", ".learnloop")).resolve())
    was_running = stack.supervisor_pid(places) is not None
    code = stack.up(places)
    if code != 0:
        return code
    try:
        run(places)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; the next `make demo` starts a new dataset", file=sys.stderr)
        if not was_running:
            stack.down(places)
        return 130
    except LearnloopError as error:
        print(f"\ndemo: {error}\n(logs: {places.logs})", file=sys.stderr)
        return 1
    return 0


def run(places: Places) -> None:
    started = time.monotonic()
    settings = load({"LEARNLOOP_HOME": str(places.home)})
    os.environ["LEARNLOOP_HOME"] = str(places.home)  # for learnloop.settings.settings() in this process
    clients = log_in(settings, places)
    scientist = clients["demo-scientist"]
    airflow = AirflowClient(settings.api_url, scientist.token or "")
    name = free_name()
    folder = places.home / "demo" / name
    data = digits.write(folder, name, BUDGET)
    say(started, f"wrote {folder}: 60 labelled digits, 1,377 unlabelled, a frozen test split of 360")

    for dag in ("base_model_training", "score_incoming_data", "incremental_training", "structure_optimization"):
        airflow.wait_for_dag(dag)
    say(started, "step 1: base model (base_model_training)")
    airflow.run("base_model_training", {"path": str(data.dataset), "message": "digits from scikit-learn"})

    first = ScriptedAnnotator(clients["demo-annotator"], data.truth, digits.CLASSES, ERROR_RATE, seed=41)
    second = ScriptedAnnotator(clients["demo-second"], data.truth, digits.CLASSES, 0.0, seed=8)
    for number in range(1, ROUNDS + 1):
        one_round(number, name, data, airflow, (first, second), started)

    rounds = collect(name, airflow, settings, data)
    print()
    report.show(rounds)
    tell_of_answers(name, first)
    image = folder / "accuracy.png"
    report.plot(rounds, f"{name}: accuracy against labels", image)
    print(f"\naccuracy against labels, as a picture: {image}")
    show_prediction(settings, name, data)
    print(
        f"\nlook at it: {settings.api_url}/dags/incremental_training/runs (rounds), {settings.api_url}/annotate/ (the page)"
        "\n`make status` says what runs, `make password USER=admin` gives a new password, `make down` stops it"
    )
    say(started, "done")


def log_in(settings: Settings, places: Places) -> dict[str, LearnloopClient]:
    """The demo's people, each logged in. Their passwords are kept, since making users takes Airflow eight seconds."""
    kept = places.secrets / "demo_passwords.json"
    if kept.exists() and (passwords := json.loads(kept.read_text())).keys() >= USERS.keys():
        with suppress(NotAuthenticated):  # somebody has changed a password or removed a user: make them anew
            return _log_in(settings, passwords)
    passwords = set_users(
        [{"name": name, "role": role, "reset": True} for name, role in USERS.items()],
        stack.running_environment(places),
        places.logs / "roles.log",
    )
    write_private(kept, json.dumps(passwords))
    return _log_in(settings, passwords)


def _log_in(settings: Settings, passwords: dict[str, str]) -> dict[str, LearnloopClient]:
    return {name: LearnloopClient.login(settings.api_url, name, passwords[name]) for name in USERS}


def one_round(
    number: int,
    name: str,
    data: digits.Digits,
    airflow: AirflowClient,
    annotators: tuple[ScriptedAnnotator, ScriptedAnnotator],
    started: float,
) -> None:
    """Steps 2 to 7, once."""
    say(started, f"round {number}: scoring the pool with the served model (score_incoming_data)")
    path = str(data.pool) if number == 1 else ""
    airflow.run("score_incoming_data", {"dataset": name, "path": path, "batch": "pool"})
    answered = 0
    while (now := sum(person.work(name) for person in annotators)) > 0:
        answered += now
    say(started, f"round {number}: {answered} answers given through the API, the policy has started training")
    airflow.wait("incremental_training", f"round-{name}-{number}", ROUND_SECONDS)
    airflow.wait("structure_optimization", f"structure-{name}-{number}", ROUND_SECONDS)
    with session() as db:
        done = round_of(db, name, number)
        say(started, f"round {number}: {done.metrics.get('gate')}; structure: {structure_word(db, name, number)}")


def free_name() -> str:
    """`digits`, or `digits-2` and so on when earlier demos have used the name."""
    with session() as db:
        taken = set(db.scalars(select(Dataset.name)))
    return next(name for name in ["digits", *(f"digits-{n}" for n in range(2, 1000))] if name not in taken)


def round_of(db: Any, name: str, number: int) -> Round:
    return db.scalars(select(Round).join(Round.dataset).where(Dataset.name == name, Round.number == number)).one()  # type: ignore[no-any-return]


def structure_word(db: Any, name: str, number: int) -> str:
    found = db.scalars(
        select(Decision).where(Decision.kind == "structure", Decision.run_id == f"structure-{name}-{number}")
    ).one_or_none()
    return "-" if found is None else str(found.reason)


def collect(name: str, airflow: AirflowClient, settings: Settings, data: digits.Digits) -> list[report.RoundReport]:
    """Read what happened from the database, and train the same trainer on random samples beside it."""
    rows = []
    with session() as db:
        rounds = [round_of(db, name, number) for number in range(ROUNDS + 1)]
        trainer = dict(rounds[0].dataset.loop["trainer"])
        counts = [done.labels or 0 for done in rounds]
        random = baseline.accuracies(settings, data, name, counts, trainer)
        for done in rounds:
            comparison = done.metrics["comparison"]
            candidate, current = comparison["candidate"], comparison.get("current")
            training = airflow.seconds_of("incremental_training", done.run_id, "train") if done.number else None
            waited = (done.served_at - done.created_at).total_seconds() if done.served_at and done.number else None
            worst = candidate["worst_class"]
            rows.append(
                report.RoundReport(
                    number=done.number,
                    labels=done.labels or 0,
                    dataset_version=done.version.name if done.version else "-",
                    model_version=done.model_version or 0,
                    accuracy_before=current["accuracy"] if current else None,
                    accuracy=candidate["accuracy"],
                    worst_class=f"{worst} ({100 * candidate['per_class'][worst]['accuracy']:.0f} %)",
                    to_serving=waited,
                    training=training,
                    gate=done.state,
                    structure=structure_word(db, name, done.number).split(":")[0],
                    random=random.get(done.labels or 0),
                )
            )
    return rows


def tell_of_answers(name: str, annotator: ScriptedAnnotator) -> None:
    """Say what became of the wrong answers."""
    with session() as db:
        dataset = db.scalars(select(Dataset).where(Dataset.name == name)).one()
        outcomes = [
            row.outcome
            for row in db.scalars(
                select(Annotation).where(Annotation.dataset_id == dataset.id, Annotation.owner == "demo-annotator")
            )
        ]
        pool = db.scalars(select(ConfirmedAnnotation).where(ConfirmedAnnotation.dataset_id == dataset.id)).all()
        wrong_kept = sum(row.label != annotator.truth[row.sample_id] for row in pool)
    print(
        f"\nthe scripted annotator gave {annotator.answered} answers, {len(annotator.wrong)} of them wrong;"
        f" {outcomes.count('gold_wrong')} of {outcomes.count('gold_wrong') + outcomes.count('gold_right')} gold tasks"
        f" caught it; {wrong_kept} wrong labels are among the {len(pool)} confirmed"
    )


def show_prediction(settings: Settings, name: str, data: digits.Digits) -> None:
    """Ask the served model about one test image, and show how."""
    sample = data.test[0]
    row = ",".join(str(int(value)) for value in data.pixels[sample].ravel())
    body = '{"inputs":[{"name":"features","datatype":"FP32","shape":[1,64],"data":[' + row + "]}]}"
    url = f"{settings.serving_url}/v2/models/{name}:realtime/infer"
    answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=10)
    answer.raise_for_status()
    print(f"\n{name}:realtime on {sample}, a {data.truth[sample]}, by the Open Inference Protocol:\n")
    print(f"curl -s {url} -H 'Content-Type: application/json' \\\n  -d '{body}'\n\n{answer.text}")


def say(started: float, text: str) -> None:
    print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RunFailed as error:
        sys.exit(str(error))
