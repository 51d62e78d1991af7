import json
from datetime import UTC, datetime, timedelta

import pytest

from learnloop.datasets.merge.advice import Advisor, Side
from learnloop.datasets.merge.report import ConflictEntry, plain

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OURS, THEIRS = Side("lamps_v1.2", NOON, 2), Side("lamps_v1.0_ben_20260501110000", NOON - timedelta(hours=1), 1)


def record(label, annotator=None, hours=None):
    at = None if hours is None else NOON + timedelta(hours=hours)
    return {"sample_id": "s", "label": label, "annotator": annotator, "annotated_at": at}


def test_newest_is_the_later_annotation_else_the_later_version():
    advisor = Advisor(OURS, THEIRS)
    assert advisor.newest(record("x", hours=1), record("y", hours=2)).choice == "theirs"
    assert advisor.newest(record("x", hours=2), record("y", hours=1)).choice == "ours"
    assert "14:00:00" in advisor.newest(record("x", hours=2), record("y", hours=1)).reason
    for ours, theirs in (
        (record("x"), record("y", hours=9)),
        (record("x", hours=1), record("y", hours=1)),
        (None, None),
    ):
        advice = advisor.newest(ours, theirs)
        assert advice.choice == "ours"
        assert "lamps_v1.2" in advice.reason
    assert Advisor(THEIRS, OURS).newest().choice == "theirs"


@pytest.mark.parametrize(
    ("votes", "ours", "theirs", "choice", "reason"),
    [
        ({("s", "y"): {"ben", "eva"}}, record("x", "ana"), record("y", "ben"), "theirs", "2 gave 'y' (ben, eva), 1"),
        ({("s", "x"): {"ben", "eva"}}, record("x", "ana"), record("y", "ben"), "ours", "3 gave 'x' (ana, ben, eva)"),
        ({}, record("x"), record("y", "ben"), "theirs", "1 gave 'y' (ben), 0 the other"),
        # One person counts once, however often they are named.
        ({("s", "x"): {"ana"}, ("other", "x"): {"eva"}}, record("x", "ana", 1), record("y", "ben", 2), "theirs",
         "as many people gave either label (1), so the newest: annotated later"),
        ({}, record("x"), record("y"), "ours", "nobody is named for either label, so the newest: the later version"),
        ({("s", "x"): {"ana"}}, record("x"), None, "ours", "no votes to count here"),
    ],
)  # fmt: skip
def test_most_agreed_counts_people(votes, ours, theirs, choice, reason):
    frozen = {place: frozenset(people) for place, people in votes.items()}
    advice = Advisor(OURS, THEIRS, frozen).most_agreed("s", ours, theirs)
    assert advice.choice == choice
    assert reason in advice.reason


def test_an_entry_is_plain_json_and_names_its_place():
    advisor = Advisor(OURS, THEIRS)
    values = [plain(record("x", "ana", hours)) for hours in (None, 0, 1)]
    entry = ConflictEntry("record", "t.parquet", "s", "label", *values, advisor.newest(), advisor.fallback())
    assert json.loads(json.dumps(entry.as_json())) == entry.as_json()
    assert entry.ours["annotated_at"] == "2026-05-01T12:00:00+00:00"
    assert entry.as_json()["suggestion"]["reason"].startswith("no votes to count here")
    other = ConflictEntry("record", "t.parquet", "s", "split", *values, advisor.newest(), advisor.fallback())
    assert len({entry.place, other.place}) == 2
    assert [entry.chosen_by(name) for name in ("ours", "theirs", "newest", "most_agreed")] == [
        "ours", "theirs", "ours", "ours",
    ]  # fmt: skip
    assert plain([b"\x01", float("nan"), NOON.date(), (1, None)]) == ["01", "NaN", "2026-05-01", [1, None]]
