from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(
    str(Path(__file__).parents[2])
)  # the page's package is not installed: Streamlit runs it from its folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that fails says what its pages showed at that moment."""
    try:
        return (yield)
    except Exception:
        browser = item.funcargs.get("browser") if isinstance(item, pytest.Function) else None
        for page in [] if browser is None else [page for context in browser.contexts for page in context.pages]:
            item.add_report_section("call", "page", f"{page.url}\n{page.locator('body').inner_text()}")
        raise
