"""The projects view: the datasets to choose from, and the guide of the chosen one, which some may edit."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from annotation_app import markup
from annotation_app.guides import PALETTE, Guide, safe
from annotation_app.keys import keys_of
from annotation_app.problems import said
from annotation_app.samples import plain
from annotation_app.texts import text
from learnloop.client import DatasetInfo

MOST_EDITED = 40
"""More classes than that are lines of a table, which scrolls; fewer have a field and a picker each."""
Styles = dict[str, dict[str, str | None]]
"""Colour and key of each class."""
EDITED = "guides_edited"
MOST_WORDS = 20_000
"""The API takes no more."""


def show(found: list[DatasetInfo], chosen: str, guide: Guide, *, editor: bool, annotator: bool) -> None:
    guide.look()
    for each in found:
        _project(each, chosen=each.name == chosen, annotator=annotator)
    dataset = next((each for each in found if each.name == chosen), None)
    if dataset is None:
        return
    st.html(f"<h2>{escape(text('guide.of', dataset=chosen))}</h2>")
    if guide.error is not None:
        st.warning(plain(said(guide.error)))
    if guide.found is None:
        return
    _shown(guide, dataset)
    if editor:
        with st.expander(text("guide.edit"), expanded=guide.changed_meanwhile, key="guide_edit"):
            _editor(guide, dataset)


def _project(dataset: DatasetInfo, *, chosen: bool, annotator: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"project_{dataset.name}"):
        st.html(markup.project(dataset, chosen), width="stretch")
        if not chosen:
            st.button(
                text("projects.choose"),
                key=f"choose_{dataset.name}",
                on_click=_choose,
                args=(dataset.name,),
                help=text("projects.choose_help", dataset=plain(dataset.name)),
            )
        elif annotator:
            st.button(text("projects.annotate"), key="annotate_it", on_click=_annotate, type="primary")


def _shown(guide: Guide, dataset: DatasetInfo) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left:
        if guide.instructions:
            with st.container(key="guide_shown"):
                st.markdown(safe(guide.instructions), anchors=False)
        else:
            st.html(f'<p class="ll-muted">{escape(text("guide.none"))}</p>')
        found = guide.found or {}
        if found.get("updated_by"):
            when = found["updated_at"][:16].replace("T", " ")
            words = text("guide.written", name=found["updated_by"], when=when)
            st.html(f'<p class="ll-muted">{escape(words)}</p>')
    with right:
        st.html(markup.classes(keys_of(dataset.classes, guide.keys), guide.colors))


def _editor(guide: Guide, dataset: DatasetInfo) -> None:
    # What the editing began with: the guide is read anew now and then, and nobody may overwrite what they have not seen.
    found = st.session_state.setdefault(EDITED, {}).setdefault(dataset.name, guide.found)
    version = found["etag"]
    with st.form(f"guide_{dataset.name}_{version}", border=False):
        words = st.text_area(
            text("guide.heading"),
            found["instructions"],
            height=260,
            max_chars=MOST_WORDS,
            placeholder=text("guide.hint"),
            key=f"guide_words_{version}",
        )
        edited = _fields if len(dataset.classes) <= MOST_EDITED else _table
        chosen = edited(found["classes"], keys_of(dataset.classes), version)
        st.html(f'<p class="ll-muted">{escape(text("guide.keys_hint"))}</p>')
        with st.container(horizontal=True):
            if st.form_submit_button(text("guide.save"), type="primary", key=f"guide_save_{version}"):
                _save(guide, words, chosen, version)
            if guide.changed_meanwhile:
                if st.form_submit_button(text("guide.save_over"), key=f"guide_over_{version}"):
                    _save(guide, words, chosen, None)
                if st.form_submit_button(text("guide.take_theirs"), key=f"guide_theirs_{version}"):
                    guide.look(anew=True)
                    st.session_state[EDITED].pop(guide.dataset)
                    st.rerun()


def _fields(styles: list[dict[str, Any]], own: Mapping[str, str | None], version: str) -> Styles:
    """A line a class. ``own``: the keys that the page would choose."""
    any_color = any(each["color"] for each in styles)
    colored = st.checkbox(text("guide.colored"), value=any_color, key=f"guide_colored_{version}")
    chosen: Styles = {}
    for number, style in enumerate(styles):
        name = style["label"]
        with st.container(horizontal=True, vertical_alignment="center", key=f"style_{number}"):
            st.text(name, width=140)
            color = st.color_picker(
                text("guide.color_of", label=name),
                style["color"] or PALETTE[number % len(PALETTE)],
                key=f"guide_color_{version}_{number}",
                label_visibility="collapsed",
            )
            key = st.text_input(
                text("guide.key_of", label=name),
                style["key"] or "",
                max_chars=1,
                placeholder=own[name] or "",
                key=f"guide_key_{version}_{number}",
                label_visibility="collapsed",
                width=70,
            )
            chosen[name] = {"color": color.lower() if colored else None, "key": key.strip().upper() or None}
    return chosen


def _table(styles: list[dict[str, Any]], own: Mapping[str, str | None], version: str) -> Styles:
    """The same as one table to edit and to search. What does not fit a cell is not taken into it."""
    lines = [{"label": each["label"], "color": each["color"] or "", "key": each["key"] or ""} for each in styles]
    edited = st.data_editor(
        lines,
        column_config={
            "label": st.column_config.TextColumn(text("guide.label"), disabled=True),
            "color": st.column_config.TextColumn(text("guide.color"), validate=r"^#[0-9a-fA-F]{6}$"),
            "key": st.column_config.TextColumn(text("guide.key"), max_chars=1, validate=r"^[0-9a-zA-Z]$"),
        },
        hide_index=True,
        height=400,
        key=f"guide_table_{version}",
    )
    return {
        each["label"]: {"color": (each["color"] or "").lower() or None, "key": (each["key"] or "").upper() or None}
        for each in edited
    }


def _save(guide: Guide, words: str, classes: Styles, seen: str | None) -> None:
    begun = st.session_state[EDITED]
    if guide.write(words, classes, seen):
        # Not by way of Streamlit: a second click ends this run at its next call, and would save over what it has not seen.
        begun.pop(guide.dataset)
        st.toast(text("guide.saved"))
    st.rerun()


def _choose(name: str) -> None:
    st.session_state.dataset = name


def _annotate() -> None:
    st.session_state.view = "annotate"
