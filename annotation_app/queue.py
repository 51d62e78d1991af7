"""The queue to look through: filters, a line a task, and a button that takes the task to the desk."""

from __future__ import annotations

from html import escape

import streamlit as st

from annotation_app import markup, quiet
from annotation_app.browsing import AGES, Browsing
from annotation_app.desk import Desk
from annotation_app.problems import said
from annotation_app.samples import plain
from annotation_app.texts import text

STATES = {"open": "queue.open", "skipped": "queue.skipped"}
"""What may be taken."""
REVIEWERS = {state: f"queue.{state}" for state in ("claimed", "answered", "review", "confirmed", "rejected")}
"""What a reviewer may look through beside it."""


def show(browsing: Browsing, desk: Desk, *, reviewer: bool) -> None:
    state = _filters(browsing, STATES | REVIEWERS if reviewer else STATES)
    if desk.notice is not None:
        st.warning(plain(said(desk.notice)))
    if browsing.error is not None:
        st.warning(plain(said(browsing.error)))
    elif not browsing.found:
        quiet.show(text("queue.none_heading"), text("queue.none_skipped" if state == "skipped" else "queue.none"))
    for row in browsing.found:
        with st.container(horizontal=True, vertical_alignment="center", key=f"queued_{row['id']}"):
            st.html(markup.queued(row, desk.task is not None and desk.task.id == row["id"]), width="stretch")
            if state in STATES:
                st.button(
                    text("queue.take"),
                    key=f"take_{row['id']}",
                    help=text("queue.take_help", sample=plain(row["sample_id"])),
                    on_click=_take,
                    args=(desk, row["id"]),
                )
    if browsing.more:
        st.button(text("queue.more"), key="queue_more", on_click=browsing.show_more, type="tertiary")
    if state == "open" and browsing.found and not reviewer:
        st.html(f'<p class="ll-muted">{escape(text("queue.order"))}</p>')


def _filters(browsing: Browsing, states: dict[str, str]) -> str:
    """Draw the filters, and read the list by them."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="filters"):
        state = st.segmented_control(
            text("queue.state"),
            list(states),
            format_func=lambda name: text(states[name]),
            default="open",
            required=True,
            key="queue_state",
        )
        if not browsing.classes:
            browsing.look(state or "open")  # what there is to filter by is not known yet
        label = st.selectbox(
            text("queue.label"), [None, *browsing.classes], key="queue_label", format_func=_any, width=150
        )
        batch, age = None, "any"
        if state != "skipped":
            batch = st.selectbox(
                text("queue.batch"), [None, *browsing.batches], key="queue_batch", format_func=_any, width=190
            )
            age = st.selectbox(
                text("queue.age"),
                list(AGES),
                key="queue_age",
                format_func=lambda name: text(f"queue.age_{name}"),
                width=170,
            )
        low, high = st.slider(
            text("queue.confidence"), 0, 100, (0, 100), step=5, format="%d %%", key="queue_confidence", width=220
        )
    browsing.look(state or "open", label=label, batch=batch, age=age, confidence=(low / 100, high / 100))
    return state or "open"


def _any(name: str | None) -> str:
    return text("queue.any") if name is None else name


def _take(desk: Desk, task_id: int) -> None:
    """To the desk with it; if it cannot be had, the list stays and says why."""
    if desk.choose(task_id):
        st.session_state.view = "annotate"
