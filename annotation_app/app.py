"""The page's wiring. Run: ``streamlit run annotation_app/app.py --server.baseUrlPath annotate``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import streamlit as st

# Streamlit puts this folder on the path, not the one that holds the package.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from annotation_app import (
    annotate,
    datasets,
    exchange,
    languages,
    login,
    overview,
    progress,
    projects,
    queue,
    quiet,
    review,
)
from annotation_app.bench import Bench
from annotation_app.browsing import Browsing
from annotation_app.desk import Desk
from annotation_app.guides import Guide
from annotation_app.standing import Standing
from annotation_app.texts import text
from annotation_app.transfer import Transfer
from learnloop import logs
from learnloop.client import DatasetInfo, LearnloopClient
from learnloop.errors import LearnloopError, NotAuthenticated
from learnloop.settings import settings

HERE = Path(__file__).parent
# What each view is called, and the right that it needs. (A string here would be shown: Streamlit shows the script's own.)
VIEWS = {
    "annotate": ("view.annotate", "annotation:claim"),
    "queue": ("view.queue", "annotation:claim"),
    "review": ("view.review", "annotation:review"),
    "progress": ("view.progress", "round:read"),
    "projects": ("view.projects", "dataset:read"),
}


@st.cache_resource
def write_log() -> None:
    """Have the server's log in the format that the settings say; once a process."""
    if settings().log_format == "json":
        logs.configure("json", component="annotation-page")


def main() -> None:
    write_log()
    languages.remember()
    title = f"{text('page')} · {text('title')}"
    st.set_page_config(page_title=title, page_icon=HERE / "icon.svg", layout="wide")
    st.html(HERE / "style.css")
    st.html(HERE / "keyboard.html", unsafe_allow_javascript=True)
    st.html(HERE / "viewer.html", unsafe_allow_javascript=True)
    try:
        who = login.current()
        found = [] if who is None else datasets.available(who.client)
    except NotAuthenticated:
        login.leave(text("login.ended"))
        who, found = None, []
    except LearnloopError as error:
        quiet.offline(error, login.current)
        return
    # Redrawn at once: what is merely no longer drawn stays, grey, until the view below it has been drawn in full.
    entrance = st.empty()
    if who is None:
        with entrance.container():
            login.form()
    else:
        login.keep(who)
        page(who, found, *header(who, [dataset.name for dataset in found]))


def header(who: login.Login, names: list[str]) -> tuple[str | None, str | None]:
    """The line on top: title, dataset, view, language, person. Returns the dataset and the view; None when there is none."""
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.html(f'<span class="ll-title">{text("title")}<span> {text("page")}</span></span>', width="content")
        dataset = datasets.choose(names)
        views = [view for view, (_, right) in VIEWS.items() if right in who.permissions]
        view = None
        if views:
            if st.session_state.get("view") not in (None, *views):
                del st.session_state.view  # who was logged in before had other rights
            view = st.segmented_control(
                text("page"),
                views,
                format_func=lambda view: text(VIEWS[view][0]),
                default=views[0],
                required=True,
                key="view",
                label_visibility="collapsed",
            )
        st.space("stretch")
        languages.choice()
        st.text(who.user, width="content")
        st.button(text("logout"), key="logout", on_click=log_out, type="tertiary")
    return dataset, view


def page(who: login.Login, found: list[DatasetInfo], dataset: str | None, view: str | None) -> None:
    if "annotation:claim" not in who.permissions:
        roles = ", ".join(who.roles) or text("forbidden.no_roles")
        quiet.aside(text("forbidden.heading"), text("forbidden.body", user=who.user, roles=roles))
    if view is None:
        return
    if dataset is None:
        quiet.show(text("dataset.none_heading"), text("dataset.none"))
        return
    guide = of_dataset("guides", dataset, who, lambda: Guide(who.client, dataset))
    if DRAWN[view](who, found, dataset, guide):
        login.leave(text("login.ended"))
        st.rerun()


def draw_annotate(who: login.Login, found: list[DatasetInfo], dataset: str, guide: Guide) -> bool:
    desk = desk_of(who, dataset)
    above = st.container()  # filled last: nobody waits for figures
    if guide.found is None:
        guide.look()
    annotate.show(desk, guide)
    with above:
        progress.show(desk, guide)
    return desk.signed_out is not None


def draw_queue(who: login.Login, found: list[DatasetInfo], dataset: str, guide: Guide) -> bool:
    desk = desk_of(who, dataset)
    browsing = of_dataset("lists", dataset, who, lambda: Browsing(who.client, dataset))
    progress.show(desk, guide)
    queue.show(browsing, desk, reviewer="annotation:review" in who.permissions)
    return desk.signed_out is not None or browsing.signed_out is not None


def draw_review(who: login.Login, found: list[DatasetInfo], dataset: str, guide: Guide) -> bool:
    bench = of_dataset("benches", dataset, who, lambda: Bench(who.client, who.user, dataset))
    guide.look()
    review.show(bench, guide)
    return bench.signed_out is not None


def draw_progress(who: login.Login, found: list[DatasetInfo], dataset: str, guide: Guide) -> bool:
    standing = of_dataset("standings", dataset, who, lambda: Standing(who.client, dataset, who.permissions))
    guide.look()
    overview.show(standing, guide.colors)
    return standing.signed_out


def draw_projects(who: login.Login, found: list[DatasetInfo], dataset: str, guide: Guide) -> bool:
    rights = who.permissions
    projects.show(found, dataset, guide, editor="dataset:write" in rights, annotator="annotation:claim" in rights)
    transfer = of_dataset("transfers", dataset, who, lambda: Transfer(who.client, dataset))
    exchange.show(transfer, may_export="annotation:export" in rights, may_import="annotation:import" in rights)
    return isinstance(guide.error, NotAuthenticated) or transfer.signed_out


# Each draws its view, and returns whether the session turned out to have ended.
DRAWN: dict[str, Callable[[login.Login, list[DatasetInfo], str, Guide], bool]] = {
    "annotate": draw_annotate,
    "queue": draw_queue,
    "review": draw_review,
    "progress": draw_progress,
    "projects": draw_projects,
}


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


class Kept(Protocol):
    """What is made for one login's client."""

    client: LearnloopClient


K = TypeVar("K", bound=Kept)


def of_dataset(kind: str, dataset: str, who: login.Login, make: Callable[[], K]) -> K:
    """What the session keeps of a dataset for this login; made anew after another login."""
    kept: dict[str, K] = st.session_state.setdefault(kind, {})
    found = kept.get(dataset)
    if found is None or found.client is not who.client:
        found = kept[dataset] = make()
    return found


main()
