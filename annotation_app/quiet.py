"""What the page shows when there is nothing to do on it: a heading, a sentence, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import streamlit as st

from annotation_app.problems import said
from annotation_app.texts import text
from learnloop.errors import LearnloopError

LOOK_AGAIN_SECONDS = 3


def show(heading: str, body: str, detail: str = "") -> None:
    more = f'<p class="ll-muted">{escape(detail)}</p>' if detail else ""
    st.html(f'<div class="ll-quiet"><h2>{escape(heading)}</h2><p>{escape(body)}</p>{more}</div>')


def aside(heading: str, body: str) -> None:
    """Something to know beside what the page is for."""
    st.html(f'<div class="ll-aside" role="note"><b>{escape(heading)}.</b> {escape(body)}</div>')


@st.fragment(run_every=LOOK_AGAIN_SECONDS)
def offline(problem: LearnloopError, again: Callable[[], object]) -> None:
    """Say that the API does not answer, and do ``again`` every few seconds until it does."""
    show(text("offline.heading"), text("offline.body"), said(problem))
    try:
        again()
    except LearnloopError:
        return  # shown above already; the next run tries once more
    st.rerun()
