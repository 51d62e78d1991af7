"""Beside a dataset's guide: its labels as a file for other tools, and tasks from theirs."""

from __future__ import annotations

from html import escape

import streamlit as st

from annotation_app.problems import PROBLEM, said
from annotation_app.samples import plain
from annotation_app.texts import text
from annotation_app.transfer import ENDINGS, IMPORTED, Transfer
from learnloop.errors import LearnloopError
from learnloop.settings import settings

MEBIBYTE = 2**20


def show(transfer: Transfer, *, may_export: bool, may_import: bool) -> None:
    if may_export:
        with st.expander(text("export.heading"), key="export"):
            _export(transfer)
    if may_import:
        told = transfer.brought_any or transfer.import_error is not None
        with st.expander(text("import.heading"), expanded=told, key="import"):
            _import(transfer)


def _export(transfer: Transfer) -> None:
    st.html(f'<p class="ll-muted">{escape(text("export.hint"))}</p>')
    with st.container(horizontal=True, vertical_alignment="bottom"):
        form = st.selectbox(text("exchange.format"), list(ENDINGS), format_func=_called, key="export_format", width=320)
        if st.button(text("export.make"), key="export_make"):
            transfer.make(form)
        if transfer.made is not None and transfer.made[0] == form:
            content = transfer.made[1]
            st.download_button(
                text("export.download", size=_size(len(content))),
                content,
                file_name=f"{transfer.dataset}.{ENDINGS[form]}",
                mime="application/octet-stream",
                on_click="ignore",
                key="export_download",
                type="primary",
            )
    if transfer.export_error is not None:
        _refused(transfer.export_error)


def _import(transfer: Transfer) -> None:
    st.html(f'<p class="ll-muted">{escape(text("import.hint"))}</p>')
    batches = transfer.batches()
    if not batches:
        st.html(f"<p>{escape(text('import.no_batch'))}</p>")
    else:
        file = st.file_uploader(
            text("import.file"),
            type=[ENDINGS[form] for form in IMPORTED],
            max_upload_size=max(1, settings().upload_bytes // MEBIBYTE),
            key="import_file",
            on_change=transfer.forget_import,  # what was said of another file would seem to be about this one
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            batch = st.selectbox(text("import.batch"), batches, key="import_batch", width=320)
            ignore = st.checkbox(text("import.ignore"), key="import_ignore")
            pressed = st.button(text("import.submit"), type="primary", disabled=file is None, key="import_submit")
            if pressed and file is not None:
                transfer.bring(file.name, file.getvalue(), batch, ignore_annotations=ignore)
    if transfer.import_error is not None:
        _refused(transfer.import_error)
    if transfer.brought is not None:
        _brought(transfer)


def _brought(transfer: Transfer) -> None:
    done = transfer.brought or {}
    counts = {name: done[name] for name in ("rows", "created", "updated", "unchanged", "left")}
    st.success(plain(text("import.done", **counts)))
    if done["left_rows"]:
        rows = ", ".join(done["left_rows"]) + (", …" if done["left"] > len(done["left_rows"]) else "")
        st.html(f'<p class="ll-muted">{escape(text("import.left", rows=rows))}</p>')


def _refused(error: LearnloopError) -> None:
    """What was wrong, row by row."""
    sentence, *problems = said(error).split(PROBLEM)
    st.error(plain(sentence))
    if problems:
        rows = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
        st.html(f'<ul class="ll-refused">{rows}</ul>')


def _called(form: str) -> str:
    return text(f"format.{form.replace('-', '_')}")


def _size(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count >= 1000 else f"{count} B"
