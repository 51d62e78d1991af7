"""What a task of the loop is tried again for: parts that come back, and jobs that were ended from outside.

Their operators do the same again without harm. What is wrong stays wrong: it fails at once, so that people need not wait.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from learnloop.errors import JobKilled, LearnloopError, Unavailable

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
"""For an operator: ``TrainOperator(task_id="train", ..., **RETRIED)``. Errors that are not ours, such as of a database that
is started anew, are tried again, too."""
