"""What went wrong, in words for the person at the page."""

from __future__ import annotations

from learnloop.errors import LearnloopError


def said(error: LearnloopError | str) -> str:
    return str(error)
