"""A client of the protocol that nobody here wrote: NVIDIA's ``tritonclient`` over HTTP."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


@pytest.fixture
def client(serve, deploy_digits):
    deploy_digits(1)
    deploy_digits(2, "realtime")
    server = serve()
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as made:
        yield made


def features(rows: np.ndarray, *, binary: bool, datatype: str = "FP32") -> list[triton.InferInput]:
    tensor = triton.InferInput("features", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return [tensor]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("count", [1, 10, 2000])
def test_it_gets_the_right_answer_in_json_and_binary(client, rows, expected, binary_in, binary_out, count):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("probabilities", "label")]
    asked = np.tile(rows, (200, 1))[:count]
    answer = client.infer("digits:realtime", features(asked, binary=binary_in), outputs=wanted, request_id="7")
    probabilities = answer.as_numpy("probabilities")
    np.testing.assert_allclose(probabilities, np.tile(expected[2], (200, 1))[:count], atol=1e-6)
    labels = [label.decode() if isinstance(label, bytes) else label for label in answer.as_numpy("label")]
    assert labels == [str(digit) for digit in probabilities.argmax(axis=1)]
    assert (answer.get_response()["model_version"], answer.get_response()["id"]) == ("2", "7")


def test_double_precision_and_a_version_by_number(client, rows, expected):
    asked = features(rows.astype(np.float64), binary=True, datatype="FP64")
    answer = client.infer("digits", asked, model_version="1")
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected[1], atol=1e-6)


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits:realtime")
    assert not client.is_model_ready("letters")
    assert {"binary_tensor_data", "model_repository"} <= set(client.get_server_metadata()["extensions"])
    assert client.get_model_metadata("digits")["inputs"][0]["shape"] == [-1, 64]


def test_the_repository_is_listed_and_loading_needs_a_token(client):
    index = {row["name"]: (row["version"], row["state"]) for row in client.get_model_repository_index()}
    assert index == {"digits:current": ("1", "READY"), "digits:realtime": ("2", "READY")}
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="model:deploy"):
            change("digits:realtime")
    assert client.is_model_ready("digits:realtime")


def test_many_requests_at_once_each_get_their_own_answer(client, rows, expected):
    answers = [client.async_infer("digits", features(rows[index : index + 1], binary=True)) for index in range(10)]
    for index, answer in enumerate(answers):
        found = answer.get_result().as_numpy("probabilities")
        np.testing.assert_allclose(found[0], expected[1][index], atol=1e-6)


def test_a_refusal_comes_as_the_protocols_error(client, rows):
    with pytest.raises(InferenceServerException, match=r"must be \[rows, 64\]"):
        client.infer("digits", features(rows[:, :3].copy(), binary=True))
    with pytest.raises(InferenceServerException, match="served are: digits:current"):
        client.infer("letters", features(rows, binary=True))
