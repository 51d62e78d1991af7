"""Which errors the loop's tasks are tried again for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import RetryAction
from sqlalchemy.exc import OperationalError

from learnloop.errors import Conflict, Corrupted, InvalidInput, JobFailed, JobKilled, StaleToken, Unavailable
from learnloop_airflow.retries import RETRIED

AGAIN = RetryAction.RETRY, RetryAction.DEFAULT
"""``DEFAULT`` is Airflow's: again, as often as ``retries`` says."""


@pytest.mark.parametrize(
    "error",
    [
        JobKilled("the job was ended by signal 9"),
        Unavailable("the registry does not answer"),
        OperationalError("SELECT 1", {}, Exception("the database system is starting up")),
        ConnectionError("reset"),
    ],
)
def test_what_comes_back_is_tried_again(error: Exception) -> None:
    assert _action(error) in AGAIN


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("wrong"),
        JobFailed("the job ended with exit code 1"),
        Conflict("no"),
        StaleToken("no"),
        Corrupted("x"),
    ],
)
def test_what_stays_wrong_is_not(error: Exception) -> None:
    assert _action(error) is RetryAction.FAIL


def test_it_is_tried_soon_and_not_for_ever() -> None:
    assert (RETRIED["retries"], RETRIED["retry_delay"]) == (2, timedelta(seconds=10))


def _action(error: Exception) -> RetryAction:
    return RETRIED["retry_policy"].evaluate(error, try_number=1, max_tries=2).action
