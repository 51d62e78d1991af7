"""How far the dataset is from its next round, kept up to date; and the pulse that keeps the task's lease."""

from __future__ import annotations

import streamlit as st

from annotation_app import markup
from annotation_app.desk import Desk, now
from annotation_app.texts import text
from learnloop.errors import LearnloopError

PULSE_SECONDS = 10


@st.fragment(run_every=PULSE_SECONDS)
def show(desk: Desk) -> None:
    """Runs by itself every few seconds. What it finds out about the task in hand redraws the whole page."""
    before = desk.task, desk.signed_out
    desk.keep_lease(now())
    try:
        st.html(markup.progress(desk.client.progress(desk.dataset)))
    except LearnloopError as error:
        st.caption(text("progress.unknown", problem=error))
    if (desk.task is None) != (before[0] is None) or desk.signed_out != before[1]:
        st.rerun()
