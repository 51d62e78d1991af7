"""Who is at the page: Airflow's login cookie when there is one, else a form. A token is never in a URL."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from urllib.parse import quote, urlsplit

import streamlit as st

from annotation_app import languages
from annotation_app.lasting import LastingClient
from annotation_app.problems import said
from annotation_app.texts import text
from learnloop.client import LearnloopClient
from learnloop.errors import InvalidInput, LearnloopError, NotAuthenticated
from learnloop.settings import settings

COOKIE = "_token"
"""Airflow's login cookie; it survives a reload of the page, what the form gets does not."""
KEEP_SECONDS = 60


@dataclass(frozen=True)
class Login:
    client: LearnloopClient
    user: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    cookie: str | None
    """The cookie's token when the login came from it; None when it came from the form."""


def current() -> Login | None:
    """Who is logged in, or None: then ``form`` is what the page shows.

    Raises:
        LearnloopError: the API does not answer, so that the cookie's owner cannot be known.
    """
    login: Login | None = st.session_state.get("login")
    cookie = st.context.cookies.get(COOKIE)
    if login is not None and login.cookie in (None, cookie):
        return login
    if not cookie or cookie == st.session_state.get("refused_cookie"):
        return None
    try:
        return _enter(LearnloopClient(settings().api_url, cookie), cookie)
    except NotAuthenticated:
        leave(text("login.ended"))
    return None


def form() -> None:
    """The login form, with what there is to say (a session that ended, a wrong password) above it."""
    with st.container(key="login"):
        languages.choice()
        st.header(text("login.heading"), anchor=False)
        if notice := st.session_state.get("login_notice"):
            st.info(notice, icon=":material/info:")
        with st.form("login_form", border=False):
            user = st.text_input(text("login.user"), autocomplete="username")
            password = st.text_input(text("login.password"), type="password", autocomplete="current-password")
            submitted = st.form_submit_button(text("login.submit"), type="primary", width="stretch")
        st.html(_airflow_link())
    if submitted and _submit(user.strip(), password):
        st.rerun()


@st.fragment(run_every=KEEP_SECONDS)
def keep(login: Login) -> None:
    """Exchange a token from the form in good time, also while nobody presses anything. A cookie's is the browser's own: to
    exchange it here would end it there.
    """
    if isinstance(login.client, LastingClient):
        try:
            login.client.keep()
        except NotAuthenticated:
            leave(text("login.ended"))
            st.rerun()


def leave(notice: str) -> None:
    """Forget the login; the form then says ``notice``. A refused cookie is not tried again."""
    st.session_state.pop("login", None)
    st.session_state.refused_cookie = st.context.cookies.get(COOKIE)
    st.session_state.login_notice = notice


def log_out() -> None:
    """End the session at the API too, so that its token opens nothing any more."""
    login: Login = st.session_state.login
    notice = text("login.logged_out")
    try:
        login.client.logout()
    except NotAuthenticated:
        pass  # it had ended already
    except LearnloopError as error:
        notice = said(error)
    leave(notice)


def _submit(user: str, password: str) -> bool:
    if not user or not password:
        st.error(text("login.incomplete"))
        return False
    try:
        _enter(LastingClient.login(settings().api_url, user, password), None)
    except (NotAuthenticated, InvalidInput):
        st.error(text("login.wrong"))
    except LearnloopError as error:
        st.error(said(error))
    else:
        return True
    return False


def _enter(client: LearnloopClient, cookie: str | None) -> Login:
    session = client.session()
    login = Login(client, session.name, tuple(session.roles), frozenset(session.permissions), cookie)
    st.session_state.login = login
    st.session_state.pop("login_notice", None)
    return login


def _airflow_link() -> str:
    """Airflow's own login page, which comes back here with its cookie set."""
    back = quote(urlsplit(st.context.url or "/").path, safe="/")
    return (
        f'<p class="ll-muted"><a href="/api/v2/auth/login?next={back}" target="_self">'
        f"{escape(text('login.airflow'))}</a> {escape(text('login.airflow_why'))}</p>"
    )
