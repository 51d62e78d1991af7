"""A sample as people look at it, while they answer and while they review."""

from __future__ import annotations

import codecs

import streamlit as st

from annotation_app import markup
from annotation_app.guides import Guide, safe
from annotation_app.images import picture
from annotation_app.problems import said
from annotation_app.rows import is_row, row
from annotation_app.texts import text
from learnloop.errors import InvalidInput


def sample(content: bytes, content_type: str, *, sample_id: str, dataset: str) -> str | None:
    """Show a sample's bytes, or say why they cannot be shown, and return that (in the source's language)."""
    alt = text("task.alt", sample=sample_id, dataset=dataset)
    try:
        if is_row(content_type):
            st.html(markup.row(row(content, content_type), alt=alt, caption=sample_id))
        elif content_type.startswith("text/"):
            words, whole = readable(content)
            if not whole:
                st.warning(text("task.not_all_text"))
            st.html(markup.words(words, alt=alt, caption=sample_id))
        elif content_type.startswith("image/"):
            st.html(markup.sample(picture(content), alt=alt, caption=sample_id))
        else:
            st.warning(text("task.unshowable", content_type=content_type))
            return f"a sample of type {content_type} cannot be shown"
    except InvalidInput as error:
        st.warning(f"{text('task.broken')}\n\n{plain(said(error))}")
        return str(error)
    return None


def instructions(guide: Guide) -> None:
    """What people are told of the dataset, beside the sample; nothing where nobody has written any."""
    if guide.instructions:
        with st.expander(text("guide.heading"), expanded=True, key="instructions"):
            st.markdown(safe(guide.instructions), anchors=False)


def readable(content: bytes) -> tuple[str, bool]:
    """A text sample's words (UTF-8, or UTF-16 that says so), and whether every byte of them could be read."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8-sig"
    try:
        return content.decode(encoding), True
    except UnicodeDecodeError:
        return content.decode(encoding, errors="replace"), False


def plain(words: str) -> str:
    """Words that Streamlit shall not read as Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&^=" else letter for letter in words)
