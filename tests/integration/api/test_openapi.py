"""The OpenAPI document and the application agree: schemathesis makes requests of the one and holds the answers to it.

All its checks are on. Two things differ from what it expects by itself:

- A request that fits the document can still be refused, by what is in the database or on the disk (a folder that is not
  there, a lock that somebody holds): 409, 410, 412, 422 and 423 are answers to that. What may not be is that the document
  calls a request well formed and the application does not; `refused_only_for_its_meaning` holds that.
- Some routes ask Airflow: those that exchange and end a token, those that tell of a run, and streams, which look whether
  the token still holds.
  They are tried by `tests/integration/identity/test_contract_airflow.py`, on Airflow's real API server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from platform_data import USER
from starlette.requests import Request

from learnloop.errors import NotAuthenticated
from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app

if TYPE_CHECKING:
    from conftest import Platform

TOKEN = "the-token-of-an-admin"
MEANING = ["409", "410", "412", "422", "423"]
CONFIG = {
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "429", *MEANING]},
        "negative_data_rejection": {
            "expected-statuses": ["400", "401", "403", "404", "405", "408", "413", "415", "422"]
        },
    },
    "headers": {"Authorization": f"Bearer {TOKEN}"},
}
SHORT = hypothesis.settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
LONG = hypothesis.settings(SHORT, max_examples=300, derandomize=False)


def who(request: Request) -> Principal:
    """The one token's bearer, in Airflow's place."""
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        raise NotAuthenticated("Not authenticated")
    return Principal(USER, frozenset({"admin"}))


APP = create_app()
APP.dependency_overrides[auth.principal] = who
SCHEMA = schemathesis.openapi.from_dict(APP.openapi(), config=schemathesis.Config.from_dict(CONFIG)).exclude(
    path_regex="^/session/(refresh|logout)|^/runs/|/stream$|^/pipelines/[^/]+($|/runs|/resources|/incremental)"
)
SCHEMA.app = APP


@schemathesis.check
def refused_only_for_its_meaning(ctx, response, case) -> None:
    """A request that fits the document is well formed for the application too."""
    if response.status_code == 422 and case.meta is not None and case.meta.generation.mode.is_positive:
        assert response.json()["detail"] != "the request is not valid", response.json()


@SCHEMA.parametrize()
@SHORT
def test_every_operation_keeps_to_the_document(case, platform) -> None:
    case.call_and_validate()


@SCHEMA.parametrize()
@LONG
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_operation_keeps_to_the_document_at_length(case, platform) -> None:
    case.call_and_validate()


def run(platform: Platform, **settings: Any) -> None:
    """Sequences of requests, each on a platform as it was at first: so that what failed fails again."""

    class Sequence(SCHEMA.as_state_machine()):
        def setup(self) -> None:
            platform.reset()

    Sequence.run(settings=hypothesis.settings(**settings))


def test_what_one_answer_names_another_request_takes(platform) -> None:
    run(platform, parent=SHORT, max_examples=12, stateful_step_count=8)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_what_one_answer_names_another_request_takes_at_length(platform) -> None:
    run(platform, parent=LONG, max_examples=300, stateful_step_count=12)
