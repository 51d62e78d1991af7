"""The OpenAPI document and the application agree, on Airflow's real API server with real tokens.

`tests/integration/api/test_openapi.py` tries what needs no Airflow, and more of it; here are the routes that do (runs,
refresh, logout), and all others once more behind Airflow's own middleware.
"""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase

from learnloop_airflow.api.app import create_app

MEANING = ["409", "410", "412", "422", "423"]
SCHEMA = schemathesis.openapi.from_dict(
    create_app().openapi(),
    config=schemathesis.Config.from_dict(
        {
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "429", *MEANING]},
                "negative_data_rejection": {
                    "expected-statuses": ["400", "401", "403", "404", "405", "408", "413", "415", "422"]
                },
            }
        }
    ),
)
NEEDS_AIRFLOW = "^/session/(refresh|logout)|^/runs/|/stream$|^/pipelines/[^/]+($|/runs|/resources|/incremental)"
SOME = hypothesis.settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def check(case: schemathesis.Case, airflow) -> None:
    """Each with a token of its own, for some end theirs."""
    seconds = str((case.query or {}).get("timeout_seconds", 0))
    if case.path.endswith("/stream") and seconds.isdecimal() and int(seconds) <= 3600:
        case.query = {**(case.query or {}), "timeout_seconds": 0}  # a stream lasts as long as it is asked to
    token = airflow.token("ada")
    case.call_and_validate(
        base_url=f"{airflow.url}/learnloop/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=120
    )


@SCHEMA.include(path_regex=NEEDS_AIRFLOW).parametrize()
@SOME
def test_what_needs_airflow_keeps_to_the_document(case, airflow) -> None:
    check(case, airflow)


@SCHEMA.exclude(path_regex=NEEDS_AIRFLOW).parametrize()
@SOME
@pytest.mark.long
def test_every_operation_keeps_to_the_document_behind_airflow(case, airflow) -> None:
    check(case, airflow)


def test_a_path_that_airflow_would_not_hand_on_is_answered_in_our_words(airflow) -> None:
    with airflow.as_user("ada") as client:
        answer = client.get("/datasets/a%0Ab")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:learnloop:problem:not-found")
    assert answer.headers["content-type"] == "application/problem+json"
