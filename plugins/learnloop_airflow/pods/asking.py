"""Asking the API server, with its answers as our errors."""

from __future__ import annotations

from typing import Any

from learnloop.errors import JobFailed, Unavailable
from learnloop_airflow.pods.state import refusal


class ApiAway(Unavailable):
    """The API server does not answer (now): wait again, and look then."""


class Refused(JobFailed):
    """The API server does not allow that."""


def asked(call: Any, *arguments: Any, **named: Any) -> Any:
    """What the API answers; None for what is not there (or, by 409, is another of that name by now).

    Raises:
        ApiAway: it does not answer, or asks to be left alone for now.
        Refused: it does not allow that.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return call(*arguments, **named)
    except ApiException as error:
        if error.status in (404, 409):
            return None
        if error.status == 429 or (error.status or 500) >= 500:
            raise ApiAway(f"the API server says {error.status}: {refusal(error.body)}") from error
        if error.status in (401, 403):
            raise Refused(f"the API server says {error.status}: {refusal(error.body)}") from error
        raise
    except HTTPError as error:
        raise ApiAway(f"the Kubernetes API server does not answer: {error}") from error
