"""What the page says: every message in every language, and in the words of the API too."""

import re
import string
from pathlib import Path

import api_sentences
import pytest

import annotation_app
from annotation_app import problems
from annotation_app.keys import SKIP_KEYS
from annotation_app.languages import known
from annotation_app.texts import LANGUAGES, LOCALE, catalogue, in_source, text
from learnloop.errors import Conflict, InvalidInput, PermissionDenied, PreconditionFailed, Unavailable

SOURCES = [path.read_text() for path in Path(annotation_app.__path__[0]).glob("*.py")]
BUILT = ("chosen.", "review.kind.", "queue.", "round.", "task_type.", "format.", "error.place.")
OTHERS = sorted(set(LANGUAGES) - {"en"})


def messages(language: str, domain: str = "page") -> dict[str, list[str]]:
    """Each message's forms, by its id."""
    found: dict[str, list[str]] = {}
    for key, words in catalogue(language, domain)._catalog.items():
        if key:
            found.setdefault(key[0] if isinstance(key, tuple) else key, []).append(words)
    return found


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_every_message_asked_for_exists_and_every_message_is_asked_for() -> None:
    there = set(messages("en"))
    asked = {key for source in SOURCES for key in re.findall(r'"([a-z_]+(?:\.[a-z_]+)*)"', source)}
    built = {f"skip.{reason}" for reason in SKIP_KEYS} | {key for key in there if key.startswith(BUILT)}
    direct = {key for source in SOURCES for key in re.findall(r"""\btext\(\s*["']([a-z_.]+)["']""", source)}
    assert direct <= there
    assert there <= asked | direct | built


def test_there_is_a_catalogue_for_each_language_and_no_other() -> None:
    assert {path.name for path in LOCALE.iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated_with_its_placeholders(language: str) -> None:
    english, other = messages("en"), messages(language)
    assert set(other) == set(english)
    for key, forms in english.items():
        wanted = set().union(*map(placeholders, forms))
        for form in other[key]:
            assert form.strip(), key
            assert placeholders(form) == wanted, key


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_is_not_the_english_again(language: str) -> None:
    english, other = messages("en"), messages(language)
    assert [key for key, forms in other.items() if set(forms) & set(english[key])] == ["title"]


@pytest.mark.parametrize("language", OTHERS)
def test_what_the_api_says_to_an_annotator_is_translated(language: str) -> None:
    there = messages(language, "errors")
    said = api_sentences.sentences()
    missing = {sentence: where for sentence, where in said.items() if sentence not in there}
    assert not missing, "add them to errors.po"
    for sentence, (form,) in there.items():
        assert form.strip(), sentence
        names = problems.PLACEHOLDER.findall
        assert set(names(form)) <= set(names(sentence)), sentence


def test_the_sentences_of_the_api_are_found_at_all() -> None:
    said = api_sentences.sentences()
    assert len(said) > 60
    assert "there is no task {task_id}" in said
    assert "a reviewer is asked about it" in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionDenied("task 12 is ben's: claim a task of your own"), "任务 12 在 ben 手里：请领取自己的任务"),
        (
            Conflict("the last answer (b/7) can no longer be taken back: it was confirmed; a reviewer can correct it"),
            "上一个答案（b/7）不能再撤回：它已确认；审核员可以更正",
        ),
        (
            Conflict("task 3 is with a reviewer; there is nothing more to do for it: choose another"),
            "任务 3 在审核员处，不需要再处理：请选择别的任务",
        ),
        (Unavailable("http://x does not answer: timed out"), "http://x 没有响应：timed out"),
        (
            PreconditionFailed("the guide of pets changed since you looked: look at it again, and decide anew"),
            "pets 的标注说明在您查看之后有了变化：请再看一次，重新决定",
        ),
        (
            InvalidInput("the guide is not valid; nothing was changed", ["classes.cat.key: S is cat's already", "odd"]),
            "标注说明有误，没有做任何更改\n  - cat 的按键 S 已分给 cat\n  - odd",
        ),
        (
            InvalidInput(
                "a.csv cannot be imported; nothing was changed:",
                [
                    "line 2, label: 'x' is not a class; the classes are cat, dog",
                    "row 3, sample_id: sample 's' is in row 1 too; keep one of them",
                    "task 4, data: odd",
                ],
            ),
            "a.csv 不能导入，没有做任何更改：\n  - 第 2 行，label：'x' 不是类别；类别有 cat, dog\n"
            "  - 第 3 条，sample_id：样本 's' 在第 1 条中也有；请只保留一个\n  - 第 4 个任务，data：odd",
        ),
        (Conflict("nobody foresaw this"), "Learnloop 说：nobody foresaw this"),
    ],
)
def test_an_error_is_said_in_the_language_of_the_page(error, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems.said(error) == str(error)
    for module in ("problems", "texts"):
        monkeypatch.setattr(f"annotation_app.{module}.language", lambda: "zh_CN")
    assert problems.said(error) == words


def test_one_and_many() -> None:
    assert text("progress.more", count=1) == "1 more label until the next training"
    assert text("progress.more", count=17) == "17 more labels until the next training"


def test_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError, match="no_such"):
        text("no_such")


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("zh-CN", "zh_CN"),
        ("zh", "zh_CN"),
        ("zh-Hant-TW", "zh_CN"),
        ("en-GB", "en"),
        ("de", None),
        ("", None),
        (None, None),
    ],
)
def test_the_browsers_language(given: str | None, ours: str | None) -> None:
    assert known(given) == ours


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("2 people differ: 1 × cat, 1 × dog", "2 人意见不一：1 × cat, 1 × dog"),
        ("every label of this dataset is reviewed (two agree)", "该数据集的每个标签都要审核（两人一致）"),
        (
            "ann's answer: answered in 0.3 s where 2.0 s is usual for this person",
            "ann 的答案：用 0.3 秒作答，而此人通常要 2.0 秒",
        ),
        (
            "confirmed as cat, to which the model gave 0.02, and 0.97 to dog",
            "已确认为 cat，模型只给它 0.02，而给 dog 0.97",
        ),
        ("a reviewer's own words", "a reviewer's own words"),
    ],
)
def test_why_a_reviewer_is_asked_is_said_in_their_language(reason, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems.reason(reason) == reason
    monkeypatch.setattr("annotation_app.problems.language", lambda: "zh_CN")
    assert problems.reason(reason) == words


def test_why_a_task_was_skipped_is_stored_in_one_language_and_read_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = f"{in_source('skip.damaged')}: torn"
    assert (stored, problems.skipped(stored)) == ("Damaged: torn", "Damaged: torn")
    monkeypatch.setattr("annotation_app.problems.language", lambda: "zh_CN")
    assert problems.skipped(stored) == "已损坏: torn"
    assert problems.skipped("") == ""
