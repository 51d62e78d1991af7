from pathlib import Path

import pytest

from learnloop.jobs import memory


@pytest.mark.parametrize(
    ("given", "cap", "expected"),
    [
        ("512Mi", "16Gi", "1Gi"),
        ("1536Mi", "2Gi", "2Gi"),
        ("2Gi", "2Gi", None),
        ("4Gi", "2Gi", None),
        ("1000", "1Gi", "2000"),
    ],
)
def test_twice_as_much_within_the_cap(given: str, cap: str, expected: str | None) -> None:
    assert memory.more(given, cap) == expected


def test_the_next_attempt_asks_for_what_was_left_for_it(tmp_path: Path) -> None:
    assert memory.needed(tmp_path, "1Gi", "16Gi") == "1Gi"
    memory.remember(tmp_path, "2Gi")
    assert memory.needed(tmp_path, "1Gi", "16Gi") == "2Gi"
    assert memory.needed(tmp_path, "4Gi", "16Gi") == "4Gi"  # the spec was changed meanwhile
    assert memory.needed(tmp_path, "1Gi", "1536Mi") == "1536Mi"


def test_a_job_cannot_ask_by_what_it_leaves_there(tmp_path: Path) -> None:
    left = tmp_path / "memory.json"
    for text in ("{", "[]", '{"memory": "lots"}', '{"memory": null}'):
        left.write_text(text)
        assert memory.needed(tmp_path, "1Gi", "16Gi") == "1Gi"
    left.write_text('{"memory": "900Ti"}')
    assert memory.needed(tmp_path, "1Gi", "16Gi") == "16Gi"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    left.unlink()
    left.symlink_to(elsewhere)
    memory.remember(tmp_path, "2Gi")
    assert elsewhere.read_text() == "untouched"
    assert memory.needed(tmp_path, "1Gi", "16Gi") == "2Gi"
