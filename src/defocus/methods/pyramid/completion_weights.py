"""Weights of the pyramid method's completion, and the ONNX graph that they make.

They are kept in 16 bits: what that changes in log2 of sigma is less than the grid of a compact map.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.methods.onnx_file import OnnxContents, import_onnx
from defocus.methods.pyramid.confidence import is_calibration

__all__ = [
    "CHANNELS",
    "COARSEST",
    "OUTPUTS",
    "WIDTHS",
    "CompletionWeights",
    "completion_shapes",
    "read_completion_card",
]

CHANNELS = 15
"""Number of planes that the network takes, see `defocus.methods.pyramid.completion.evidence_planes`."""
WIDTHS = (24, 48, 64, 96, 96)
"""Number of channels of each level of the U-Net; the first has half of the readings across."""
OUTPUTS = 3
"""Values for each reading: a correction of log2 of sigma, log odds of the reading itself, log odds of being right."""
COARSEST = 2 ** len(WIDTHS)
"""Side in readings of the blocks of the coarsest level: height and width of the planes have to be multiples of it."""
_METADATA_KEY = "card"


def completion_shapes() -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all parameters.

    Examples
    --------
    >>> completion_shapes()["stem.weight"]
    (24, 15, 4, 4)
    """
    kernels = {
        "stem": (WIDTHS[0], CHANNELS, 4, 4),
        "first": (WIDTHS[0], WIDTHS[0], 3, 3),
    }
    for level in range(1, len(WIDTHS)):
        kernels[f"down{level}.1"] = (WIDTHS[level], WIDTHS[level - 1], 3, 3)
        kernels[f"down{level}.2"] = (WIDTHS[level], WIDTHS[level], 3, 3)
    for level in reversed(range(len(WIDTHS) - 1)):
        kernels[f"up{level}.1"] = (WIDTHS[level], WIDTHS[level + 1] + WIDTHS[level], 3, 3)
        kernels[f"up{level}.2"] = (WIDTHS[level], WIDTHS[level], 3, 3)
    kernels["head"] = (4 * OUTPUTS, WIDTHS[0], 1, 1)
    named: dict[str, tuple[int, ...]] = {}
    for name, shape in kernels.items():
        named |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return named


@dataclass(frozen=True)
class CompletionWeights:
    """Parameters of the trained completion.

    Attributes
    ----------
    parameters : float32 arrays by the names and in the shapes of `completion_shapes`.
    card : where the weights come from: data, command, seed, figures, and `calibration`, two lists of 0..1 of one
        length: what the network says, ascending, and how often that was right.

    Raises
    ------
    WeightsError
        If an array is missing, of another shape, or not finite.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, shape in completion_shapes().items():
            if name not in self.parameters:
                raise WeightsError(f"The weights lack {name} of the completion; train it again.")
            if self.parameters[name].shape != shape:
                raise WeightsError(
                    f"The completion's {name} has the shape {self.parameters[name].shape}; {shape} is needed."
                )
            if not np.isfinite(self.parameters[name]).all():
                raise WeightsError(f"The completion has numbers in {name} that are not finite; train it again.")

    @classmethod
    def from_onnx(cls, found: OnnxContents, source: Path) -> CompletionWeights:
        """Take the parameters and the card from the parts of a model of `to_onnx`.

        Raises
        ------
        WeightsError
            If they are not those of a completion.
        """
        names = completion_shapes()
        parameters = {name: value for name, value in found.parameters.items() if name in names}
        return cls(parameters, read_completion_card(found.properties, source))

    def to_onnx(self) -> bytes:
        """Return the network as an ONNX model.

        Input: `planes`, 1 x 15 x h x w, h and w multiples of 32. Outputs: `log2_sigma` and `right`, the log2 of sigma
        in px and the probability that it is right, 1 x 1 x h x w each.

        Raises
        ------
        WeightsError
            If the package `onnx` is not installed.
        """
        onnx = import_onnx()
        helper = onnx.helper
        constants = []
        nodes: list[Any] = []

        def constant(name: str, value: NDArray[Any]) -> str:
            constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
            return name

        def node(operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(operation, inputs, [output], **attributes))
            return output

        def parameter(name: str) -> str:
            half = constant(name, self.parameters[name].astype(np.float16))
            return node("Cast", [half], f"{name}.float", to=onnx.TensorProto.FLOAT)

        def convolution(name: str, source: str, stride: int = 1) -> str:
            border = (self.parameters[f"{name}.weight"].shape[-1] - 1) // 2
            inputs = [source, parameter(f"{name}.weight"), parameter(f"{name}.bias")]
            return node("Conv", inputs, name, pads=[border] * 4, strides=[stride] * 2)

        def convolved(name: str, source: str, stride: int = 1) -> str:
            return node("Relu", [convolution(name, source, stride)], f"{name}.relu")

        twice = constant("twice", np.array([1, 1, 2, 2], np.float32))
        levels = [convolved("first", convolved("stem", "planes", 2))]
        for level in range(1, len(WIDTHS)):
            halved = node("AveragePool", [levels[-1]], f"half{level}", kernel_shape=[2, 2], strides=[2, 2])
            levels.append(convolved(f"down{level}.2", convolved(f"down{level}.1", halved)))
        x = levels[-1]
        for level in reversed(range(len(WIDTHS) - 1)):
            linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            doubled = node("Resize", [x, "", twice], f"double{level}", **linear)
            joined = node("Concat", [doubled, levels[level]], f"joined{level}", axis=1)
            x = convolved(f"up{level}.2", convolved(f"up{level}.1", joined))
        values = node("DepthToSpace", [convolution("head", x)], "values", blocksize=2, mode="CRD")

        channel = constant("channel", np.array([1], np.int64))

        def plane(source: str, number: int, name: str) -> str:
            first = constant(f"{name}.first", np.array([number], np.int64))
            last = constant(f"{name}.last", np.array([number + 1], np.int64))
            return node("Slice", [source, first, last, channel], name)

        # The planes hold half of log2 of sigma.
        two = constant("two", np.array(2, np.float32))
        reading = node("Mul", [plane("planes", 3, "half_reading"), two], "reading")
        propagated = node("Mul", [plane("planes", 4, "half_propagated"), two], "propagated")
        share = node("Sigmoid", [plane(values, 1, "odds_of_reading")], "share")
        own = node("Mul", [share, node("Sub", [reading, propagated], "difference")], "own")
        mixed = node("Add", [propagated, own], "mixed")
        node("Add", [mixed, plane(values, 0, "correction")], "log2_sigma")
        node("Sigmoid", [plane(values, 2, "odds_of_right")], "right")

        def described(name: str, channels: int) -> Any:
            return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, "h", "w"])

        graph = helper.make_graph(
            nodes,
            "completion",
            [described("planes", CHANNELS)],
            [described("log2_sigma", 1), described("right", 1)],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {_METADATA_KEY: json.dumps(dict(self.card))})
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def read_completion_card(properties: Mapping[str, str], source: Path) -> dict[str, Any]:
    """Return the model card in the metadata of a model of `CompletionWeights.to_onnx`.

    Raises
    ------
    WeightsError
        If there is none, or its calibration is not two curves of one length.
    """
    try:
        card = json.loads(properties[_METADATA_KEY])
        if not isinstance(card, dict) or not is_calibration(card.get("calibration")):
            raise TypeError
        return card
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"The completion in {source} has no card; train it again.") from error
