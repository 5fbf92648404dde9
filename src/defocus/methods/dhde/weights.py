"""Weights of the DHDE network and the ONNX graph they make (Park et al., CVPR 2017)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.methods.dhde.features.layout import HAND_CRAFTED_SIZE
from defocus.methods.onnx_file import OnnxContents, import_onnx
from defocus.runtime.atomic import write_bytes

__all__ = ["BLUR_LABELS", "CNN_FEATURE_SIZE", "CNN_PATCH_WIDTH", "SHAPES", "DHDEWeights", "read_metadata", "rebuilt"]

BLUR_LABELS = tuple(round(0.5 + 0.15 * index, 2) for index in range(11))
"""Gaussian sigma in px of each of the 11 classes: 0.50, 0.65, ..., 2.00."""

CNN_PATCH_WIDTH = 27
"""Width in px of the RGB patches that the CNN takes; smaller patches are padded by their border to it."""

CNN_FEATURE_SIZE = 25
"""Length of the CNN's feature."""
SHAPES: Mapping[str, tuple[int, ...]] = {
    "conv1.weight": (25, 3, 3, 3),
    "conv1.bias": (25,),
    "conv2.weight": (50, 25, 3, 3),
    "conv2.bias": (50,),
    "conv3.weight": (50, 50, 3, 3),
    "conv3.bias": (50,),
    "conv4.weight": (CNN_FEATURE_SIZE, 50, 1, 1),
    "conv4.bias": (CNN_FEATURE_SIZE,),
    "fc1.weight": (300, HAND_CRAFTED_SIZE + CNN_FEATURE_SIZE),
    "fc1.bias": (300,),
    "fc2.weight": (150, 300),
    "fc2.bias": (150,),
    "fc3.weight": (len(BLUR_LABELS), 150),
    "fc3.bias": (len(BLUR_LABELS),),
}
"""Names and shapes of all parameters: 126 thousand numbers."""

_METADATA_KEY = "defocus"
_KIND = "dhde"


@dataclass(frozen=True)
class DHDEWeights:
    """Parameters of the trained classifier.

    Attributes
    ----------
    parameters : float32 arrays by the names and in the shapes of `SHAPES`. Patches are upright (rows, columns), RGB,
        0..255; hand-crafted features are multiplied by 255.
    rounded_features : the hand-crafted features are rounded to integers before they enter, as the released training
        data was.
    bounded_scores : a ReLU stands between the last layer and the softmax, as in the released network.
    card : where the weights come from: data, command, seed, figures.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    rounded_features: bool = False
    bounded_scores: bool = False
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, shape in SHAPES.items():
            if name not in self.parameters:
                raise WeightsError(f"The weights lack {name}; they are not those of a DHDE network.")
            if self.parameters[name].shape != shape:
                raise WeightsError(
                    f"The weights have {name} of shape {self.parameters[name].shape} where DHDE needs {shape}."
                )
            if not np.isfinite(self.parameters[name]).all():
                raise WeightsError(f"The weights have numbers in {name} that are not finite; train them again.")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as one ONNX file, complete under a temporary name and then renamed.

        Parameters
        ----------
        path : the file, by habit `NAME.onnx`.
        """
        write_bytes(Path(path), self.to_onnx())

    def to_onnx(self) -> bytes:
        """The network as an ONNX model: inputs `patches` (n x 3 x 27 x 27) and `hand_crafted` (n x 120, unscaled),
        output `probability` (n x 11).
        """
        onnx = import_onnx()  # here, not above: an estimate with this package's weights reads the finished file
        helper = onnx.helper

        constants = [
            onnx.numpy_helper.from_array(np.ascontiguousarray(self.parameters[name], dtype=np.float32), name)
            for name in SHAPES
        ]
        constants.append(onnx.numpy_helper.from_array(np.float32(255), "feature_scale"))
        nodes = []

        def node(operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(operation, inputs, [output], **attributes))
            return output

        def convolution(name: str, source: str) -> str:
            response = node("Conv", [source, f"{name}.weight", f"{name}.bias"], name)
            return node("Relu", [response], f"{name}.relu")

        def pooling(name: str, source: str) -> str:
            return node("MaxPool", [source], name, kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1)

        def fully_connected(name: str, source: str) -> str:
            return node("Gemm", [source, f"{name}.weight", f"{name}.bias"], name, transB=1)

        features = node("Mul", ["hand_crafted", "feature_scale"], "scaled")
        if self.rounded_features:
            features = node("Round", [features], "rounded")
        response = pooling("pool1", convolution("conv1", "patches"))
        response = pooling("pool2", convolution("conv2", response))
        response = convolution("conv4", convolution("conv3", response))
        deep = node("Flatten", [response], "deep", axis=1)
        response = node("Concat", [features, deep], "features", axis=1)
        response = node("Relu", [fully_connected("fc1", response)], "fc1.relu")
        response = node("Relu", [fully_connected("fc2", response)], "fc2.relu")
        response = fully_connected("fc3", response)
        if self.bounded_scores:
            response = node("Relu", [response], "fc3.relu")
        node("Softmax", [response], "probability", axis=1)

        width = CNN_PATCH_WIDTH
        graph = helper.make_graph(
            nodes,
            "dhde",
            [
                helper.make_tensor_value_info("patches", onnx.TensorProto.FLOAT, ["n", 3, width, width]),
                helper.make_tensor_value_info("hand_crafted", onnx.TensorProto.FLOAT, ["n", HAND_CRAFTED_SIZE]),
            ],
            [helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, ["n", len(BLUR_LABELS)])],
            constants,
        )
        # Opset 17 and IR 8 are read by every ONNX Runtime this package admits.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {_METADATA_KEY: json.dumps({"kind": _KIND, "card": dict(self.card)})})
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def rebuilt(found: OnnxContents, _path: Path) -> bytes:
    """The model of this package with the parameters, the card and the two choices of a file.

    Raises
    ------
    WeightsError : the file is not a DHDE network, or its numbers are not those of one.
    """
    card = read_metadata(found.properties)
    return DHDEWeights(
        {name: found.parameters[name] for name in SHAPES if name in found.parameters},
        rounded_features="rounded" in found.operations,
        bounded_scores="fc3.relu" in found.operations,
        card=card,
    ).to_onnx()


def read_metadata(properties: Mapping[str, str]) -> dict[str, Any]:
    """The model card inside an ONNX file's metadata.

    Raises
    ------
    WeightsError : the metadata is not that of a DHDE network written by `DHDEWeights.save`.
    """
    try:
        metadata = json.loads(properties[_METADATA_KEY])
        if metadata["kind"] != _KIND:
            raise KeyError
        if not isinstance(metadata["card"], dict):
            raise KeyError
        return metadata["card"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError("The ONNX file is not a DHDE network written by `defocus train`.") from error
