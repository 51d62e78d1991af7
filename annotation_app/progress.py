"""How far the dataset is from its next round, kept up to date; and the pulse that keeps the task's lease."""

from __future__ import annotations

import streamlit as st

from annotation_app import markup
from annotation_app.desk import Desk, now
from annotation_app.guides import Guide

PULSE_SECONDS = 10
AGAIN_PATIENCE_SECONDS = 1.0
"""So long it waits to hear of what a lost connection had kept back."""


@st.fragment(run_every=PULSE_SECONDS)
def show(desk: Desk, guide: Guide) -> None:
    """Runs by itself every few seconds. What it finds out about the task in hand redraws the whole page."""
    before = _state(desk)
    desk.settle(0)
    desk.send_again()
    desk.settle(AGAIN_PATIENCE_SECONDS)
    desk.keep_lease(now())
    desk.read_progress()
    if desk.progress is not None:
        st.html(markup.progress(desk.progress))
    if desk.quality is not None:
        st.html(markup.quality(desk.quality))
    if guide.look() or _state(desk) != before:
        st.rerun()


def _state(desk: Desk) -> tuple[bool, bool, bool, int]:
    """What the rest of the page shows of it."""
    return desk.task is not None, desk.signed_out is not None, bool(desk.on_its_way), len(desk.kept)
