"""The choice of a language: at first the browser's, then what the person chose, which a cookie remembers."""

from __future__ import annotations

import json

import streamlit as st

from annotation_app.texts import CHOSEN, DEFAULT, LANGUAGES, text

COOKIE = "learnloop_language"
YEAR_SECONDS = 365 * 24 * 3600


def remember() -> None:
    """At the start of a run: find the language, and tell the browser, which keeps it and names it to screen readers."""
    if CHOSEN not in st.session_state:
        st.session_state[CHOSEN] = known(st.context.cookies.get(COOKIE)) or known(st.context.locale) or DEFAULT
    chosen = st.session_state[CHOSEN]
    script = f"document.documentElement.lang = {json.dumps(chosen.replace('_', '-'))};"
    if st.session_state.get("language_was_chosen"):
        cookie = f"{COOKIE}={chosen}; Path=/; Max-Age={YEAR_SECONDS}; SameSite=Lax"
        script += f"document.cookie = {json.dumps(cookie)};"
    st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def choice() -> None:
    """The control that chooses."""
    st.segmented_control(
        text("language"),
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        default=st.session_state[CHOSEN],
        required=True,
        key="language",
        on_change=_choose,
        label_visibility="collapsed",
    )


def known(name: str | None) -> str | None:
    """The language of ours that ``name``, such as ``zh-Hans-CN``, means; None when we have none."""
    if not name:
        return None
    if name in LANGUAGES:
        return name
    short = name.replace("_", "-").split("-")[0].lower()
    return next((ours for ours in LANGUAGES if ours.split("_")[0] == short), None)


def _choose() -> None:
    st.session_state[CHOSEN] = st.session_state.language
    st.session_state.language_was_chosen = True
