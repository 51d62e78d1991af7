"""The task in hand: sample, guess, one button a class. Or, when there is none, why."""

from __future__ import annotations

from html import escape

import streamlit as st

from annotation_app import markup, quiet
from annotation_app.desk import Answer, Desk
from annotation_app.images import picture
from annotation_app.keys import CONTINUE_KEY, SKIP_KEYS, keys_of
from annotation_app.texts import text
from learnloop.client import Task
from learnloop.errors import InvalidInput


def show(desk: Desk) -> None:
    if not desk.paused:
        desk.look_again()
    if desk.kept:
        _kept(desk)
    if desk.paused:
        _paused(desk)
    elif desk.task is not None:
        _task(desk, desk.task)
    else:
        _waiting(desk)


def _task(desk: Desk, task: Task) -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        _sample(desk, task)
    with right:
        st.html(f"<h2>{text('task.question')}</h2>")
        _answers(desk, task)
        _guess(task)
        _skips(desk, task)
        _last(desk.last)


def _sample(desk: Desk, task: Task) -> None:
    if desk.content is None:
        st.warning(desk.problem or text("task.broken"))
        st.button(text("task.load_again"), on_click=desk.load)
    elif task.content_type.startswith("text/"):
        with st.container(border=True):
            st.text(desk.content.decode(errors="replace"))
    elif task.content_type.startswith("image/"):
        try:
            shown = picture(desk.content)
        except InvalidInput as error:
            st.warning(f"{text('task.broken')}\n\n{error}")
            return
        alt = text("task.alt", sample=task.sample_id, dataset=task.dataset)
        st.html(markup.sample(shown, alt=alt, caption=task.sample_id))
    else:
        st.warning(text("task.unshowable", content_type=task.content_type))


def _answers(desk: Desk, task: Task) -> None:
    keys = keys_of(task.classes)
    same = all(key == name.upper() for name, key in keys.items())
    # The key need not be printed beside a label that is the key.
    with st.container(horizontal=True, gap="small", key="answers_plain" if same else "answers"):
        for index, (name, key) in enumerate(keys.items()):
            st.button(
                _plain(name),
                key=f"answer_{task.id}_{index}",
                shortcut=key,
                on_click=desk.answer,
                args=(task.id, name),
                width="stretch",
            )
    st.html(f'<p class="ll-muted">{text("keys.hint")}</p>')


def _guess(task: Task) -> None:
    of = escape(text("prediction.of", version=task.prediction.model_version))
    heading = f'<h3>{text("prediction.heading")} <span class="ll-muted">· {of}</span></h3>'
    st.html(heading + markup.prediction(task.prediction))
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
                on_click=desk.answer,
                args=(task.id, None, label),
                type="tertiary",
            )


def _last(last: Answer | None) -> None:
    if last is None:
        return
    said = text("last.skip", sample=last.sample_id)
    if last.label is not None:
        said = text("last.answer", label=last.label, sample=last.sample_id)
    st.html(f'<p class="ll-muted" role="status">✓ {escape(said)}</p>')


def _kept(desk: Desk) -> None:
    """What has not been taken yet, why, and what can be done about it."""
    answers = ", ".join(
        text("kept.skip", sample=kept.answer.sample_id)
        if kept.answer.label is None
        else text("kept.answer", label=kept.answer.label, sample=kept.answer.sample_id)
        for kept in desk.kept.values()
    )
    problems = dict.fromkeys(kept.problem for kept in desk.kept.values())
    with st.container(horizontal=True, vertical_alignment="center", key="kept"):
        heading = escape(text("kept.heading", answers=answers))
        st.html(f"<p><b>{heading}</b></p>" + "".join(f"<p>{escape(problem)}</p>" for problem in problems))
        st.button(text("kept.send"), key="kept_send", on_click=desk.send_kept, kwargs={"refused_too": True})
        st.button(text("kept.discard"), key="kept_discard", on_click=desk.discard_kept, type="tertiary")


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
    if desk.problem is None:
        quiet.show(text("empty.heading"), text("empty.body", dataset=desk.dataset))
    elif desk.offline:
        quiet.show(text("offline.heading"), text("offline.body"), desk.problem)
    else:
        quiet.show(text("trouble.heading"), desk.problem)


def _plain(words: str) -> str:
    """Words that Streamlit shall not read as Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&^=" else letter for letter in words)
