"""How far the dataset is from its next round, kept up to date; and the pulse that keeps the task's lease."""

from __future__ import annotations

import streamlit as st

from annotation_app import markup
from annotation_app.desk import Desk, now

PULSE_SECONDS = 10


@st.fragment(run_every=PULSE_SECONDS)
def show(desk: Desk) -> None:
    """Runs by itself every few seconds. What it finds out about the task in hand redraws the whole page."""
    had_task, signed_out = desk.task is not None, desk.signed_out
    desk.keep_lease(now())
    desk.read_progress()
    if desk.progress is not None:
        st.html(markup.progress(desk.progress))
    if desk.quality is not None:
        st.html(markup.quality(desk.quality))
    if (desk.task is not None) != had_task or desk.signed_out != signed_out:
        st.rerun()
