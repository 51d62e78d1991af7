"""A sample as people look at it, while they answer and while they review."""

from __future__ import annotations

import streamlit as st

from annotation_app import markup
from annotation_app.images import picture
from annotation_app.texts import text
from learnloop.errors import InvalidInput


def sample(content: bytes, content_type: str, *, sample_id: str, dataset: str) -> None:
    """Show a sample's bytes, or say why they cannot be shown."""
    if content_type.startswith("text/"):
        with st.container(border=True):
            st.text(content.decode(errors="replace"))
    elif content_type.startswith("image/"):
        try:
            shown = picture(content)
        except InvalidInput as error:
            st.warning(f"{text('task.broken')}\n\n{error}")
            return
        st.html(markup.sample(shown, alt=text("task.alt", sample=sample_id, dataset=dataset), caption=sample_id))
    else:
        st.warning(text("task.unshowable", content_type=content_type))


def plain(words: str) -> str:
    """Words that Streamlit shall not read as Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&^=" else letter for letter in words)
