import re

from annotation_app import markup
from annotation_app.images import Picture


def test_likeliest_three_in_order_with_percent() -> None:
    html = markup.prediction({"label": "4", "probabilities": {"1": 0.02, "9": 0.3, "4": 0.62, "7": 0.06}})
    assert re.findall(r'aria-label="([^"]+)"', html) == ["4: 62 %", "9: 30 %", "7: 6 %"]
    assert re.findall(r"width:(\d+)%", html) == ["62", "30", "6"]


def test_prediction_without_probabilities_or_none_at_all() -> None:
    assert "4: 62 %" in markup.prediction({"label": "4", "confidence": 0.62})
    assert "No model has guessed" in markup.prediction({})


def test_what_came_with_the_data_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    pages = [
        markup.prediction({"label": evil, "confidence": 1.0}),
        markup.sample(Picture("data:,", 8, 8), alt=f'"{evil}', caption=evil),
        markup.chosen({"strategy": evil}),
        markup.progress(PROGRESS | {"reason": evil}),
    ]
    assert not [page for page in pages if "<script" in page or '""' in page]


PROGRESS = {
    "confirmed": 90,
    "waiting": 30,
    "needed": 40,
    "reason": "30 of 40 labels",
    "open_tasks": 5,
    "pending": 2,
    "answered_by_me": 7,
    "round": 1,
}


def test_progress_bar_is_filled_by_labels_against_need() -> None:
    assert "width:75%" in markup.progress(PROGRESS)
    assert "width:100%" in markup.progress(PROGRESS | {"waiting": 55})
    assert "width:100%" in markup.progress(PROGRESS | {"needed": 0})
    assert 'aria-valuenow="30"' in markup.progress(PROGRESS)


def test_reason_of_choice() -> None:
    assert "two best guesses" in markup.chosen({"strategy": "margin", "rank": 3})
    assert markup.chosen("my_own") == "Chosen by my own."
    assert "person to decide" in markup.chosen(None)
