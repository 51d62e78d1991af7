"""The annotator's guide says the same in both languages, in the words of the page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENGLISH, CHINESE = (ROOT / "docs" / f"annotators-guide{end}.md" for end in ("", ".zh"))
LOCALE = ROOT / "annotation_app" / "locale" / "en" / "LC_MESSAGES" / "page.po"


def shape(page: Path) -> list[str]:
    """What each line is: a heading, a row of a table with so many cells, an item of a list."""
    found = []
    for line in page.read_text().splitlines():
        if row := re.match(r"\|.*\|$", line):
            found.append(f"row of {row.group().count('|') - 1}")
        elif mark := re.match(r"(#+|-|\d\.) ", line):
            found.append(mark.group(1))
    return found


def test_both_have_the_same_headings_rows_and_items() -> None:
    assert len(shape(ENGLISH)) > 30
    assert shape(ENGLISH) == shape(CHINESE)


def test_it_quotes_what_the_page_says() -> None:
    said = LOCALE.read_text()
    views_and_buttons = re.findall(r"\*\*([^*\n]+)\*\*", ENGLISH.read_text())
    table = ENGLISH.read_text().partition("## What the page says")[2].partition("\n## ")[0]
    sentences = [cell.strip(" .") for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)]
    quoted = [
        part for cell in sentences if cell not in ("the page says", "---") for part in re.split(r" ?\.\.\. ?", cell)
    ]
    own = {"One key\nis one answer", "If in doubt, skip", "the task is somebody else's"}  # the guide's own words
    missing = [words for words in [*views_and_buttons, *quoted] if words not in own and words not in said]
    assert missing == []
