"""``learnloop review``: what waits for a reviewer. ``learnloop quality``: how far answers can be trusted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from learnloop.commands.arguments import Dataset
from learnloop.commands.common import JsonOption, client, moment, say, show, table

app = typer.Typer(no_args_is_help=True, help="What waits for a reviewer. Needs the right annotation:review.")

Number = Annotated[int, typer.Argument(help="The review's number, as `list` shows it.")]
Why = Annotated[str, typer.Option("--message", "-m", help="Why; people see it beside their answers.")]


@app.command(name="list")
def list_reviews(
    dataset: Dataset,
    state: Annotated[str, typer.Option(help="open, decided or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: bool = JsonOption,
) -> None:
    """What waits for a reviewer, or was decided."""
    with client() as api:
        found = api.reviews(dataset, state=state, limit=limit)
    headings = ("review", "at", "sample", "kind", "reason", "decision", "by")
    rows = [
        [
            row["id"],
            moment(row["created_at"]),
            row["sample_id"],
            row["kind"],
            row["reason"],
            " ".join(filter(None, (row["decision"], row["label"]))),
            row["decided_by"],
        ]
        for row in found
    ]
    show(found, as_json, lambda: table(headings, rows))


@app.command(name="show")
def show_review(number: Number, as_json: bool = JsonOption) -> None:
    """One review, with everything that people said of its sample."""
    with client() as api:
        found = api.review(number)

    def human() -> None:
        say(f"review {number}: sample {found['sample_id']} of {found['dataset']}, {found['kind']}: {found['reason']}")
        prediction = found["prediction"]
        say(f"the model says {prediction['label']} ({prediction['confidence']:.2f})")
        if found["confirmed_label"] is not None:
            say(f"confirmed as {found['confirmed_label']}")
        headings = ("at", "annotator", "label", "seconds", "comment", "outcome", "because")
        names = ("annotator", "label", "seconds", "comment", "outcome", "outcome_reason")
        rows = [[moment(answer["created_at"]), *(answer[name] for name in names)] for answer in found["answers"]]
        table(headings, rows)
        if found["decision"] is not None:
            say(_decided(found))

    show(found, as_json, human)


@app.command()
def confirm(
    number: Number,
    label: Annotated[str, typer.Argument(help="The right label.")],
    message: Why = "",
    as_json: bool = JsonOption,
) -> None:
    """Confirm a label: one of the answers, or another (say why then). A label that was confirmed before is superseded."""
    _decide(number, "confirm", label, message, as_json)


@app.command()
def send_back(number: Number, message: Why = "", as_json: bool = JsonOption) -> None:
    """Reject the answers, and ask other people."""
    _decide(number, "send_back", None, message, as_json)


@app.command()
def reject(number: Number, message: Why = "", as_json: bool = JsonOption) -> None:
    """Reject the answers, and never ask about the sample again."""
    _decide(number, "reject", None, message, as_json)


@app.command()
def request(
    dataset: Dataset,
    sample: Annotated[str, typer.Argument(help="A sample whose label is confirmed.")],
    message: Why = "",
    as_json: bool = JsonOption,
) -> None:
    """Have a confirmed label decided anew."""
    with client() as api:
        found = api.request_review(dataset, sample, message)
    show(found, as_json, lambda: say(f"review {found['id']}: {sample} is confirmed as {found['confirmed_label']}"))


@app.command()
def check(dataset: Dataset, as_json: bool = JsonOption) -> None:
    """Look at all answers now; labels that the model's predictions speak against go to review."""
    with client() as api:
        found = api.check_quality(dataset)
    text = f"{found['answers']} answers, {found['confirmed']} confirmed labels: {found['suspected']} new in review"
    show(found, as_json, lambda: say(text))


def show_quality(
    dataset: Dataset,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's, with agreement: for reviewers.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """How far your answers to a dataset can be trusted, and how many they were lately; with --all, everybody's."""
    with client() as api:
        found = api.quality(dataset) if everybody else api.my_quality(dataset)
        found["days"] = api.throughput(dataset) if everybody else api.my_throughput(dataset)

    def human() -> None:
        names = (
            "annotator",
            "answers",
            "skipped",
            "waiting",
            "confirmed",
            "rejected",
            "fast",
            "slow",
            "median_seconds",
        )
        headings = (*names[:-1], "median s", "gold right")
        people = found["people"] if everybody else [found]
        table(headings, [[*(_short(person[name]) for name in names), _gold(person)] for person in people])
        if everybody:
            _show_agreement(found["agreement"])
        if found["days"]:
            rows = [(day["day"], day["annotator"], day["answers"], day["skipped"]) for day in found["days"]]
            table(("day (UTC)", "annotator", "answers", "skipped"), rows)

    show(found, as_json, human)


def _decide(number: int, decision: str, label: str | None, message: str, as_json: bool) -> None:
    with client() as api:
        found = api.decide(number, decision, label=label, reason=message)
    show(found, as_json, lambda: say(_decided(found)))


def _decided(found: dict[str, Any]) -> str:
    what = {"confirm": f"confirmed as {found['label']}", "send_back": "sent back", "reject": "rejected"}
    reason = f": {found['decision_reason']}" if found["decision_reason"] else ""
    return f"{found['sample_id']} was {what[found['decision']]} by {found['decided_by']}{reason}"


def _show_agreement(found: dict[str, Any]) -> None:
    say(f"agreement over {found['samples']} samples that several people answered:")
    say(f"  Krippendorff's alpha {_short(found['krippendorff_alpha']) or 'not known'}")
    say(f"  Fleiss' kappa {_short(found['fleiss_kappa']) or 'not known'}")
    for pair in found["pairs"]:
        who = " and ".join(pair["people"])
        say(f"  Cohen's kappa of {who}: {_short(pair['cohen_kappa']) or 'not known'} ({pair['samples']} samples)")


def _gold(person: dict[str, Any]) -> str:
    return f"{person['gold_right']} of {person['gold_answered']}"


def _short(value: Any) -> Any:
    return f"{value:.2f}" if isinstance(value, float) else value
