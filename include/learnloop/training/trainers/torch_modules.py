"""What of the PyTorch trainer needs PyTorch to be read: its network, its state as arrays, its export. Import it late."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from learnloop.training.onnx_files import CLASSES

Arrays = dict[str, NDArray[Any]]


class Scaling(nn.Module):  # type: ignore[misc]
    """What a ``StandardScaler`` does."""

    def __init__(self, mean: Any, scale: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, rows: Any) -> Any:
        return (rows - self.mean) / self.scale


class ChannelsFirst(nn.Module):  # type: ignore[misc]
    def forward(self, images: Any) -> Any:
        return images.permute((0, 3, 1, 2))


def network(
    scaling: Scaling,
    *,
    image: tuple[int, int, int] | None,
    filters: Sequence[int],
    hidden: Sequence[int],
    classes: int,
    seed: int,
) -> Any:
    """A ``Sequential`` from raw features to probabilities, with fresh weights by ``seed``; its last part is the softmax."""
    parts: dict[str, Any] = {"scale": scaling}
    width = len(scaling.mean)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if image is not None and filters:
            height, across, channels = image
            parts["image"] = nn.Sequential(nn.Unflatten(1, image), ChannelsFirst())
            for number, count in enumerate(filters):
                parts[f"filter{number}"] = nn.Conv2d(channels, count, 3, padding=1)
                parts[f"pool{number}"] = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
                height, across, channels = height // 2, across // 2, count
            parts["flat"] = nn.Flatten()
            width = math.prod((height, across, channels))
        for number, units in enumerate(hidden):
            parts[f"hidden{number}"] = nn.Linear(width, units)
            parts[f"relu{number}"] = nn.ReLU()
            width = units
        parts["last"] = nn.Linear(width, classes)
    parts["probabilities"] = nn.Softmax(1)
    made = nn.Sequential()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def weights(of: Any) -> Arrays:
    """A network's weights by name."""
    return {name: tensor.detach().numpy().copy() for name, tensor in of.state_dict().items()}


def set_weights(of: Any, arrays: Arrays) -> None:
    of.load_state_dict(_tensors(arrays))


def moments(optimizer: Any) -> dict[str, Arrays]:
    """What an optimizer remembers, in types that a checkpoint may hold."""
    state = optimizer.state_dict()["state"]
    return {str(number): {name: tensor.numpy().copy() for name, tensor in of.items()} for number, of in state.items()}


def set_moments(optimizer: Any, arrays: dict[str, Arrays]) -> None:
    state = {int(number): _tensors(of) for number, of in arrays.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def in_onnx(of: Any, classes: Sequence[str], features: int) -> bytes:
    """The network as an ONNX file from ``features`` to ``probabilities``; its weights keep their names."""
    # It names each operator of torchvision that it does without, and warns of its own future.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            of.eval(),
            (torch.zeros(2, features),),
            dynamo=True,
            input_names=["features"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    for node in model.graph.node:  # on which line of whose file each operation was found
        del node.metadata_props[:]
        node.doc_string = ""
    said = model.metadata_props.add()
    said.key, said.value = CLASSES, json.dumps(list(classes))
    content: bytes = model.SerializeToString()
    return content


def weights_in_onnx(content: bytes) -> Arrays:
    """The weights of an ONNX file by name."""
    import onnx

    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}


def _tensors(arrays: Arrays) -> dict[str, Any]:
    return {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}
