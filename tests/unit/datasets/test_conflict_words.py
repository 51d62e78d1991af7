from __future__ import annotations

from learnloop.datasets.merge.words import in_words


def test_only_what_differs_of_a_record_is_shown() -> None:
    values = {
        "base": {"label": "6", "annotator": "ann", "annotated_at": None},
        "ours": {"label": "1", "annotator": "ann", "annotated_at": None},
        "theirs": {"label": "2", "annotator": "bo", "annotated_at": None},
    }
    assert in_words(values, "label") == {
        "base": "6, annotator ann",
        "ours": "1, annotator ann",
        "theirs": "2, annotator bo",
    }


def test_a_side_that_has_none_and_a_field_without_value() -> None:
    values = {"base": {"label": "6", "annotator": None}, "ours": None, "theirs": {"label": None, "annotator": None}}
    assert in_words(values, "label") == {"base": "6", "ours": "—", "theirs": "—"}


def test_a_record_that_only_one_side_has_is_shown_whole() -> None:
    assert in_words({"ours": {"label": "6", "split": "train"}}, None) == {
        "base": "—", "ours": "label 6, split train", "theirs": "—"
    }  # fmt: skip


def test_a_file_is_shown_by_its_hash() -> None:
    assert in_words({"base": None, "ours": "ab12", "theirs": "cd34"}, None) == {
        "base": "—",
        "ours": "ab12",
        "theirs": "cd34",
    }
