"""The task in hand: sample, guess, one button a class. Or, when there is none, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from annotation_app import markup, quiet
from annotation_app.desk import Desk
from annotation_app.errand import Answer
from annotation_app.guides import Guide
from annotation_app.keys import AGREE_KEY, CONTINUE_KEY, SKIP_KEYS, UNDO_KEY, keys_of
from annotation_app.problems import said
from annotation_app.samples import instructions, plain, sample
from annotation_app.texts import in_source, text
from annotation_app.type_ahead import type_ahead
from learnloop.client import Task
from learnloop.errors import Unavailable

PATIENCE_SECONDS = 4.0
"""So long the page waits to hear of an answer; then it says that it is being sent, and looks again from time to time."""
MOST_COMMENT = 1900
"""The API takes 2000 characters, and a skip's reason is put before its comment."""


def show(desk: Desk, guide: Guide) -> None:
    """Draw the task, and only then wait for what became of the answer before it."""
    if not desk.paused:
        desk.look_again()
    above = st.container()
    if desk.paused:
        _paused(desk)
        below = st.container()
    elif desk.task is not None:
        below = _task(desk, desk.task, guide)
    else:
        below = st.container()
        _waiting(desk)
    desk.settle(PATIENCE_SECONDS)
    if desk.kept:
        with above:
            _kept(desk)
    with below:
        _last(desk)


def _task(desk: Desk, task: Task, guide: Guide) -> DeltaGenerator:
    """Returns the place below it."""
    desk.drawn = task.id
    left, right = st.columns([5, 6], gap="large")
    with left:
        fault = _sample(desk, task)
        instructions(guide)
    with right:
        if words := task.chosen_by.get("sent_back"):
            st.html(f'<div class="ll-aside" role="note">{escape(text("task.sent_back", words=words))}</div>')
        if fault is None:
            st.html(f"<h2>{text('task.question')}</h2>")
            type_ahead(keys_of(task.classes, guide.keys), f"typed_{task.id}", lambda name: _say(desk, task.id, name))
            _answers(desk, task, guide)
            _guess(desk, task, guide.colors)
        else:  # nobody says what they have not seen
            st.html(f"<h2>{text('task.unseen')}</h2>")
        _skips(desk, task)
        _comment(task, fault or "")
        return st.container()


def _sample(desk: Desk, task: Task) -> str | None:
    """Returns what is wrong with it, so that it cannot be shown ("": that is not known); None when it is shown."""
    if desk.content is not None:
        return sample(desk.content, task.content_type, sample_id=task.sample_id, dataset=task.dataset)
    st.warning(plain(said(desk.fault)) if desk.fault is not None else text("task.broken"))
    st.button(text("task.load_again"), key="load_again", on_click=desk.load)
    return "" if desk.fault is None or isinstance(desk.fault, Unavailable) else str(desk.fault)


def _answers(desk: Desk, task: Task, guide: Guide) -> None:
    keys = keys_of(task.classes, guide.keys)
    st.html(markup.class_colors(task.classes, guide.colors))
    same = all(key == name.upper() for name, key in keys.items())
    # The key need not be printed beside a label that is the key.
    with st.container(horizontal=True, gap="small", key="answers_plain" if same else "answers"):
        for index, (name, key) in enumerate(keys.items()):
            st.button(
                plain(name),
                key=f"answer_{task.id}_{index}",
                shortcut=key,
                on_click=_say,
                args=(desk, task.id, name),
                width="stretch",
            )
    st.html(f'<p class="ll-muted">{text("keys.hint")}</p>')


def _guess(desk: Desk, task: Task, colors: Mapping[str, str]) -> None:
    if task.prediction.model_version == 0 and len(set(task.prediction.probabilities.values())) == 1:
        # Nothing to agree with: all classes are equally likely.
        st.html(f'<p class="ll-muted">{escape(text("prediction.none"))}</p>')
        _why(task)
        return
    of = escape(text("prediction.of", version=task.prediction.model_version))
    heading = f'<h3>{text("prediction.heading")} <span class="ll-muted">· {of}</span></h3>'
    with st.container(horizontal=True, gap="small", vertical_alignment="top", key="guess"):
        st.html(heading + markup.prediction(task.prediction, colors), width="stretch")
        if task.prediction.label in task.classes:
            st.button(
                text("prediction.agree"),
                key=f"agree_{task.id}",
                shortcut=AGREE_KEY,
                on_click=_say,
                args=(desk, task.id, task.prediction.label),
                type="tertiary",
            )
    _why(task)


def _why(task: Task) -> None:
    st.html(f'<p class="ll-why"><b>{text("chosen.heading")}</b> {markup.chosen(task.chosen_by)}</p>')


def _skips(desk: Desk, task: Task) -> None:
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="skips"):
        st.html(f'<span class="ll-muted">{text("skip.heading")}</span>', width="content")
        for reason, key in SKIP_KEYS.items():
            label = text(f"skip.{reason}")
            st.button(
                label,
                key=f"skip_{task.id}_{reason}",
                shortcut=key,
                on_click=_say,
                args=(desk, task.id, None, in_source(f"skip.{reason}")),
                type="tertiary",
            )


def _comment(task: Task, fault: str) -> None:
    """For the reviewer. While it has the focus, keys write and do not answer. What is wrong with the sample is in it."""
    key = f"comment_{task.id}"
    fault, before = fault[:MOST_COMMENT], st.session_state.get(f"{key}_fault", "")
    if fault != before and st.session_state.get(key, "") in ("", before):  # not what somebody has written
        st.session_state[key] = fault
    st.session_state[f"{key}_fault"] = fault
    st.text_input(
        text("comment"),
        key=key,
        max_chars=MOST_COMMENT,
        placeholder=text("comment.hint"),
        label_visibility="collapsed",
    )


def _say(desk: Desk, task_id: int, label: str | None, skip_reason: str = "") -> None:
    desk.answer(task_id, label, skip_reason, str(st.session_state.get(f"comment_{task_id}") or "").strip())


def _last(desk: Desk) -> None:
    """What was answered last, and the way back."""
    if desk.notice is not None:
        st.html(f'<p class="ll-muted" role="status">{escape(said(desk.notice))}</p>')
    if desk.on_its_way:
        sending = text("last.sending", answers=_list(desk.on_its_way))
        st.html(f'<p class="ll-muted" role="status">{escape(sending)}</p>')
    if desk.last is None:
        return
    received = text("last.skip", sample=desk.last.sample_id)
    if desk.last.label is not None:
        received = text("last.answer", label=desk.last.label, sample=desk.last.sample_id)
    with st.container(horizontal=True, vertical_alignment="center", key="last"):
        st.html(f'<p class="ll-muted" role="status">✓ {escape(received)}</p>', width="content")
        st.button(
            text("undo"),
            key="undo",
            shortcut=UNDO_KEY,
            on_click=desk.undo,
            disabled=not desk.can_undo,
            type="tertiary",
        )


def _kept(desk: Desk) -> None:
    """What has not been taken yet, why, and what can be done about it."""
    answers = _list([kept.answer for kept in desk.kept.values()])
    problems = dict.fromkeys(said(kept.error) if kept.refused else text("kept.waits") for kept in desk.kept.values())
    with st.container(horizontal=True, vertical_alignment="center", key="kept"):
        heading = escape(text("kept.heading", answers=answers))
        st.html(f"<p><b>{heading}</b></p>" + "".join(f"<p>{escape(problem)}</p>" for problem in problems))
        st.button(text("kept.send"), key="kept_send", on_click=desk.send_kept, kwargs={"refused_too": True})
        st.button(text("kept.discard"), key="kept_discard", on_click=desk.discard_kept, type="tertiary")


def _list(answers: Sequence[Answer]) -> str:
    return ", ".join(
        text("kept.skip", sample=answer.sample_id)
        if answer.label is None
        else text("kept.answer", label=answer.label, sample=answer.sample_id)
        for answer in answers
    )


def _paused(desk: Desk) -> None:
    quiet.show(text("paused.heading"), text("paused.body"))
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button(text("paused.continue"), key="continue", shortcut=CONTINUE_KEY, on_click=desk.go_on, type="primary")


@st.fragment(run_every=quiet.LOOK_AGAIN_SECONDS)
def _waiting(desk: Desk) -> None:
    """No task: look again every few seconds."""
    kept = len(desk.kept)
    if desk.look_again() or desk.signed_out or len(desk.kept) != kept:
        st.rerun()
    if desk.error is None:
        quiet.show(text("empty.heading"), text("empty.body", dataset=desk.dataset))
    elif desk.offline:
        quiet.show(text("offline.heading"), text("offline.body"), said(desk.error))
    else:
        quiet.show(text("trouble.heading"), said(desk.error))
