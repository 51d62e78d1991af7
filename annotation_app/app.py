"""The page's wiring. Run: ``streamlit run annotation_app/app.py --server.baseUrlPath annotate``."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

# Streamlit puts this folder on the path, not the one that holds the package.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from annotation_app import annotate, login, progress
from annotation_app.desk import Desk
from annotation_app.texts import text
from learnloop.errors import LearnloopError, NotAuthenticated

HERE = Path(__file__).parent


def main() -> None:
    st.set_page_config(page_title=f"{text('page')} · {text('title')}", page_icon=":material/all_inclusive:", layout="wide")
    st.html(HERE / "style.css")
    st.html(HERE / "keyboard.html", unsafe_allow_javascript=True)
    who = login.current()
    if who is None:
        login.form()
        return
    try:
        names = [dataset["name"] for dataset in who.client.datasets()]
    except NotAuthenticated:
        login.leave(text("login.ended"))
        st.rerun()
    except LearnloopError as error:
        header(who, [])
        st.error(str(error))
        return
    dataset = header(who, names)
    if "annotation:claim" not in who.permissions:
        roles = ", ".join(who.roles) or text("forbidden.no_roles")
        quiet(text("forbidden.heading"), text("forbidden.body", user=who.user, roles=roles))
    elif dataset is None:
        quiet(text("page"), text("dataset.none"))
    else:
        work(desk_of(who, dataset))


def header(who: login.Login, datasets: list[str]) -> str | None:
    """The line on top: title, the dataset (a choice when there are several), the person. Returns the dataset."""
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.html(f'<span class="ll-title">{text("title")}<span> {text("page")}</span></span>', width="content")
        chosen = datasets[0] if datasets else None
        if len(datasets) > 1:
            chosen = st.selectbox(
                text("dataset"),
                datasets,
                key="dataset",
                label_visibility="collapsed",
                bind="query-params",
                width=220,
            )
        elif chosen is not None:
            st.html(f'<span class="ll-muted">{chosen}</span>', width="content")
        st.space("stretch")
        st.text(who.user, width="content")
        st.button(text("logout"), key="logout", on_click=login.log_out, type="tertiary")
    return chosen


def work(desk: Desk) -> None:
    progress.show(desk)
    annotate.show(desk)
    if desk.signed_out:
        login.leave(text("login.ended"))
        st.rerun()


def desk_of(who: login.Login, dataset: str) -> Desk:
    """This person's desk for ``dataset``: it outlives a session that ended, with the answers it kept."""
    desks: dict[str, Desk] = st.session_state.setdefault("desks", {})
    desk = desks.get(dataset)
    if desk is None or desk.user != who.user:
        desk = desks[dataset] = Desk(who.client, who.user, dataset)
    if desk.client is not who.client:
        desk.client, desk.signed_out = who.client, None
        desk.send_kept()
    return desk


def quiet(heading: str, body: str) -> None:
    with st.container(key="quiet"):
        st.subheader(heading, anchor=False)
        st.text(body)


main()
