"""The progress view: how far the next training is, what the last ones gave, and how people answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

import streamlit as st

from annotation_app import confusions, figures
from annotation_app.problems import said
from annotation_app.samples import plain
from annotation_app.standing import DAYS, Standing
from annotation_app.texts import text

LOOK_AGAIN_SECONDS = 15


@st.fragment(run_every=LOOK_AGAIN_SECONDS)
def show(standing: Standing, colors: Mapping[str, str]) -> None:
    if standing.signed_out:
        return  # the page leads to the form
    standing.look()
    if standing.signed_out:
        st.rerun()
    if standing.error is not None:
        st.warning(plain(said(standing.error)))
    if standing.progress is None:
        return
    st.html(figures.until_training(standing.progress))
    left, right = st.columns(2, gap="large")
    with left:
        st.html(f"<h3>{escape(text('overview.curve'))}</h3>")
        if standing.rounds:
            chart = figures.learning_curve(standing.rounds)
            st.vega_lite_chart(chart, height=260, alt=text("overview.curve_alt", dataset=standing.dataset))
            st.html(figures.rounds(standing.rounds))
        else:
            st.html(f'<p class="ll-muted">{escape(text("overview.no_round"))}</p>')
    with right:
        st.html(f"<h3>{escape(text('overview.balance'))}</h3>")
        newest = standing.rounds[-1] if standing.rounds else None
        st.html(figures.balance(standing.balance, newest, colors))
        st.html(f'<p class="ll-muted">{escape(text("overview.balance_hint"))}</p>')
    if standing.people:
        heading = text("people.everybody" if standing.everybody else "people.yours")
        st.html(f"<h3>{escape(heading)}</h3>" + figures.people(standing.people, DAYS, datetime.now(UTC).date()))
        if standing.agreement is not None:
            st.html(figures.agreement(standing.agreement))
        if standing.reliability is not None and standing.reliability["confusions"]:
            _confusions(standing.reliability)
        if not standing.everybody:
            st.html(f'<p class="ll-muted">{escape(text("people.in_steps"))}</p>')
    if standing.rejected:
        st.html(f"<h3>{escape(text('rejected.heading'))}</h3>" + figures.rejected(standing.rejected))


def _confusions(reliability: Mapping[str, Any]) -> None:
    st.html(f"<h3>{escape(text('confusion.heading'))}</h3>" + confusions.summary(reliability))
    st.html(f'<p class="ll-muted">{escape(text("confusion.hint", count=reliability["answers"]))}</p>')
    if len(reliability["classes"]) <= confusions.MOST_CLASSES:
        person = st.selectbox(
            text("confusion.choose"), sorted(reliability["confusions"]), index=None, key="confusion_of", width=320
        )
        if person is not None:
            st.html(confusions.whole(reliability, person))
