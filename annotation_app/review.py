"""What waits for a reviewer: the sample, what people said of it side by side, and the decision."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from annotation_app import markup, quiet
from annotation_app.bench import Bench
from annotation_app.guides import Guide
from annotation_app.keys import keys_of
from annotation_app.problems import said
from annotation_app.samples import instructions, plain, sample
from annotation_app.texts import text
from annotation_app.type_ahead import type_ahead
from learnloop.client import Prediction

MOST_REASON = 2000
DECISIONS = {"send_back": "review.send_back", "reject": "review.reject"}
DONE = {"confirm": "review.last_confirm", "send_back": "review.last_send_back", "reject": "review.last_reject"}
LOOK_AGAIN_SECONDS = 5


def show(bench: Bench, guide: Guide) -> None:
    bench.look()
    if bench.error is not None:
        st.warning(plain(said(bench.error)))
    if bench.review is None:
        _nothing(bench)
        return
    review = bench.review
    bench.drawn = review["id"]
    left, right = st.columns([5, 6], gap="large")
    with left:
        if bench.content is not None:
            sample(bench.content, review["content_type"], sample_id=review["sample_id"], dataset=review["dataset"])
        instructions(guide)
    with right:
        st.html(markup.why(review, len(bench.waiting)))
        st.html(markup.opinions(review["answers"]))
        st.html(f"<h3>{escape(text('prediction.heading'))}</h3>" + markup.prediction(_prediction(review), guide.colors))
        _decision(bench, review, guide)
        _last(bench)


def _decision(bench: Bench, review: dict[str, Any], guide: Guide) -> None:
    st.html(f"<h3>{escape(text('review.question'))}</h3>")
    reason = f"reason_{review['id']}"
    st.text_input(
        text("review.reason"),
        key=reason,
        max_chars=MOST_REASON,
        placeholder=text("review.reason_hint"),
        label_visibility="collapsed",
    )
    keys = keys_of(review["classes"], guide.keys)
    type_ahead(keys, f"typed_review_{review['id']}", lambda name: _decide(bench, review["id"], "confirm", name, reason))
    st.html(markup.class_colors(review["classes"], guide.colors))
    same = all(key == name.upper() for name, key in keys.items())
    with st.container(horizontal=True, gap="small", key="answers_plain" if same else "answers"):
        for index, (name, key) in enumerate(keys.items()):
            st.button(
                plain(name),
                key=f"confirm_{review['id']}_{index}",
                shortcut=key,
                on_click=_decide,
                args=(bench, review["id"], "confirm", name, reason),
                width="stretch",
            )
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="decisions"):
        if review["confirmed_label"] is None:
            for decision, words in DECISIONS.items():
                st.button(
                    text(words),
                    key=f"{decision}_{review['id']}",
                    on_click=_decide,
                    args=(bench, review["id"], decision, None, reason),
                )
        st.button(text("review.put_off"), key="put_off", on_click=bench.put_off, type="tertiary")


def _decide(bench: Bench, review_id: int, decision: str, label: str | None, reason: str) -> None:
    bench.decide(review_id, decision, label, str(st.session_state.get(reason) or "").strip())


def _last(bench: Bench) -> None:
    if bench.last is not None:
        done = DONE[bench.last["decision"]]
        said = text(done, sample=bench.last["sample_id"], label=bench.last["label"])
        st.html(f'<p class="ll-muted" role="status">✓ {escape(said)}</p>')


@st.fragment(run_every=LOOK_AGAIN_SECONDS)
def _nothing(bench: Bench) -> None:
    bench.look()
    if bench.review is not None or bench.signed_out:
        st.rerun()
    quiet.show(text("review.empty_heading"), text("review.empty", dataset=bench.dataset))
    _last(bench)


def _prediction(review: dict[str, Any]) -> Prediction:
    return Prediction.model_validate(review["prediction"])
