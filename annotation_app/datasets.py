"""Which dataset to annotate: asked for only when there are several, and kept in the page's URL."""

from __future__ import annotations

import time
from html import escape

import streamlit as st

from annotation_app.texts import text
from learnloop.client import DatasetInfo, LearnloopClient
from learnloop.errors import Unavailable

FRESH_SECONDS = 30
"""Datasets seldom change: an answer need not wait for their list."""


def available(client: LearnloopClient) -> list[DatasetInfo]:
    """The datasets there are. The list known before will do while the API does not answer."""
    known: list[DatasetInfo] | None = None
    known, read_at = st.session_state.get("datasets", (None, 0.0))
    if known and time.monotonic() - read_at < FRESH_SECONDS:
        return known
    try:
        found = client.datasets()
    except Unavailable:
        if known is None:
            raise
        return known
    st.session_state.datasets = found, time.monotonic()
    return found


def choose(names: list[str]) -> str | None:
    if len(names) > 1:
        return st.selectbox(
            text("dataset"), names, key="dataset", label_visibility="collapsed", bind="query-params", width=180
        )
    if not names:
        return None
    st.html(f'<span class="ll-muted">{escape(names[0])}</span>', width="content")
    return names[0]
