"""The benchmark's model as an MLServer runtime: the same loading, the same arithmetic. MLServer's own Python imports it."""

from __future__ import annotations

from pathlib import Path

from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec, StringCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]

from learnloop.training.models import load


class Digits(MLModel):
    async def load(self) -> bool:
        self._model = load(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        probabilities = self._model.predict_proba(NumpyCodec.decode_input(payload.inputs[0])).astype("float32")
        labels = [self._model.classes[index] for index in probabilities.argmax(axis=1)]
        return InferenceResponse(
            model_name=self.name,
            model_version="1",
            outputs=[
                NumpyCodec.encode_output("probabilities", probabilities),
                StringCodec.encode_output("label", labels),
            ],
        )
