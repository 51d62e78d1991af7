from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import first_pools
import pytest

sys.path.append(
    str(Path(__file__).parents[2])
)  # the page's package is not installed: Streamlit runs it from its folder


@pytest.fixture(scope="session")
def birds(live_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of texts with 49 classes and without a model; its first tasks are open."""
    return first_pools.birds(live_stack, tmp_path_factory.mktemp("first") / "birds")


@pytest.fixture(scope="session")
def stones(live_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of rows without a model; its first tasks are open."""
    return first_pools.stones(live_stack, tmp_path_factory.mktemp("first") / "stones")


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
