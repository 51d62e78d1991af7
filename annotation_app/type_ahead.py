"""More classes than keys: a field that narrows them as one types, and takes the one that Enter chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from annotation_app.texts import text


def type_ahead(keys: Mapping[str, str | None], key: str, take: Callable[[str], None]) -> None:
    """Show the field where a class has no key of its own; ``keyboard.html`` leads to it with a comma.

    Args:
        keys: of each class, as `keys_of` gives them.
        key: the field's own in the session; begins with ``typed_``.
        take: is called with the class that was chosen.
    """
    if None not in keys.values():
        return

    def chosen() -> None:
        name, st.session_state[key] = st.session_state[key], None  # the same may be chosen again
        if name is not None:
            take(name)

    st.selectbox(
        text("type_ahead"),
        list(keys),
        index=None,
        placeholder=text("type_ahead.hint"),
        filter_mode="contains",
        key=key,
        on_change=chosen,
        label_visibility="collapsed",
    )
