"""What a task of the loop is tried again for: parts that come back, jobs that were ended from outside, and a try that
never began since nobody answered.

Operators do the same again without harm: what they make, they make once a run. What is wrong stays wrong: it fails at
once, so that people need not wait.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from learnloop.errors import JobKilled, LearnloopError, Unavailable
from learnloop_airflow.notifiers.events import TOLD

RETRIED: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=[JobKilled, Unavailable], reason="it may work in a moment"),
            RetryRule(exception=LearnloopError, action=RetryAction.FAIL, reason="another try would end the same"),
        ]
    ),
}
"""For an operator, ``TrainOperator(task_id="train", ..., **RETRIED)``, or for a DAG, ``DAG(..., default_args=RETRIED)``.

Errors that are not ours, such as of a database that is started anew, are tried again, too."""

TOLD_AND_RETRIED: dict[str, Any] = {**TOLD, "default_args": {**TOLD["default_args"], **RETRIED}}
"""For ``DAG(..., **TOLD_AND_RETRIED)``: its tasks are tried again, and its runs' people are told how they end."""
