import re

from annotation_app import markup
from annotation_app.images import Picture
from learnloop.client import Prediction, ProgressInfo


def guess(probabilities: dict[str, float]) -> Prediction:
    label, confidence = max(probabilities.items(), key=lambda pair: pair[1])
    return Prediction(
        label=label, confidence=confidence, uncertainty=1 - confidence, probabilities=probabilities, model_version=3
    )


def progress(**changed: object) -> ProgressInfo:
    values = {"confirmed": 90, "waiting": 30, "needed": 40, "reason": "10 more labels needed", "open_tasks": 5}
    return ProgressInfo(**(values | {"pending": 2, "answered_by_me": 7, "round": None} | changed))


def test_likeliest_three_in_order_with_percent() -> None:
    html = markup.prediction(guess({"1": 0.02, "9": 0.3, "4": 0.62, "7": 0.06}))
    assert re.findall(r'aria-label="([^"]+)"', html) == ["4: 62 %", "9: 30 %", "7: 6 %"]
    assert re.findall(r"width:(\d+)%", html) == ["62", "30", "6"]


def test_what_came_with_the_data_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    pages = [
        markup.prediction(guess({evil: 1.0})),
        markup.sample(Picture("data:,", 8, 8), alt=f'"{evil}', caption=evil),
        markup.chosen({"strategy": evil}),
        markup.progress(progress(reason=evil)),
    ]
    assert not [page for page in pages if "<script" in page or '""' in page]


def test_open_tasks_are_told_as_far_as_they_are_counted() -> None:
    assert "<b>9999</b>" in markup.progress(progress(open_tasks=9_999))
    assert "<b>10000+</b>" in markup.progress(progress(open_tasks=10_000))


def test_progress_bar_is_filled_by_labels_against_need() -> None:
    html = markup.progress(progress())
    assert "width:75%" in html
    assert 'aria-valuenow="30"' in html
    assert "10 more labels needed" in html
    assert "width:100%" in markup.progress(progress(waiting=55))
    assert "width:0%" in markup.progress(progress(waiting=0, needed=0))


def test_reason_of_choice() -> None:
    assert "two best guesses" in markup.chosen({"strategy": "margin_sampling", "rank": 3})
    assert markup.chosen({"strategy": "my_own"}) == "Chosen by my own."
    assert "person to decide" in markup.chosen({})
