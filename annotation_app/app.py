"""The page's wiring. Run: ``streamlit run annotation_app/app.py --server.baseUrlPath annotate``."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

# Streamlit puts this folder on the path, not the one that holds the package.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from annotation_app import annotate, datasets, login, progress, queue, quiet, review
from annotation_app.bench import Bench
from annotation_app.browsing import Browsing
from annotation_app.desk import Desk
from annotation_app.texts import text
from learnloop.errors import LearnloopError, NotAuthenticated

HERE = Path(__file__).parent
# What each view is called, and the right that it needs. (A string here would be shown: Streamlit shows the script's own.)
VIEWS = {
    "annotate": ("view.annotate", "annotation:claim"),
    "queue": ("view.queue", "annotation:claim"),
    "review": ("view.review", "annotation:review"),
}


def main() -> None:
    title = f"{text('page')} · {text('title')}"
    st.set_page_config(page_title=title, page_icon=HERE / "icon.svg", layout="wide")
    st.html(HERE / "style.css")
    st.html(HERE / "keyboard.html", unsafe_allow_javascript=True)
    st.html(HERE / "viewer.html", unsafe_allow_javascript=True)
    try:
        who = login.current()
        names = [] if who is None else datasets.names(who.client)
    except NotAuthenticated:
        login.leave(text("login.ended"))
        who, names = None, []
    except LearnloopError as error:
        quiet.offline(error, login.current)
        return
    if who is None:
        login.form()
    else:
        page(who, header(who, names))


def header(who: login.Login, names: list[str]) -> str | None:
    """The line on top: title, dataset, person. Returns the dataset; None when there is none."""
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.html(f'<span class="ll-title">{text("title")}<span> {text("page")}</span></span>', width="content")
        dataset = datasets.choose(names)
        views = [view for view, (_, right) in VIEWS.items() if right in who.permissions]
        if views:
            st.segmented_control(
                text("page"),
                views,
                format_func=lambda view: text(VIEWS[view][0]),
                default="annotate",
                required=True,
                key="view",
                label_visibility="collapsed",
            )
        st.space("stretch")
        st.text(who.user, width="content")
        st.button(text("logout"), key="logout", on_click=log_out, type="tertiary")
    return dataset


def page(who: login.Login, dataset: str | None) -> None:
    if "annotation:claim" not in who.permissions:
        roles = ", ".join(who.roles) or text("forbidden.no_roles")
        quiet.show(text("forbidden.heading"), text("forbidden.body", user=who.user, roles=roles))
    elif dataset is None:
        quiet.show(text("dataset.none_heading"), text("dataset.none"))
    elif st.session_state.get("view") == "review":
        bench = bench_of(who, dataset)
        review.show(bench)
        if bench.signed_out:
            login.leave(text("login.ended"))
            st.rerun()
    elif st.session_state.get("view") == "queue":
        desk, browsing = desk_of(who, dataset), browsing_of(who, dataset)
        progress.show(desk)
        queue.show(browsing, desk, reviewer="annotation:review" in who.permissions)
        if desk.signed_out or browsing.signed_out:
            login.leave(text("login.ended"))
            st.rerun()
    else:
        desk = desk_of(who, dataset)
        above = st.container()  # filled last: nobody waits for figures
        annotate.show(desk)
        with above:
            progress.show(desk)
        if desk.signed_out:
            login.leave(text("login.ended"))
            st.rerun()


def log_out() -> None:
    """What is leased goes back to the queue first."""
    for desk in st.session_state.get("desks", {}).values():
        desk.leave()
    login.log_out()


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


def bench_of(who: login.Login, dataset: str) -> Bench:
    benches: dict[str, Bench] = st.session_state.setdefault("benches", {})
    bench = benches.get(dataset)
    if bench is None or bench.client is not who.client:
        bench = benches[dataset] = Bench(who.client, who.user, dataset)
    return bench


def browsing_of(who: login.Login, dataset: str) -> Browsing:
    lists: dict[str, Browsing] = st.session_state.setdefault("lists", {})
    browsing = lists.get(dataset)
    if browsing is None or browsing.client is not who.client:
        browsing = lists[dataset] = Browsing(who.client, dataset)
    return browsing


main()
