"""Weights of the pyramid method: of the network that reads blur, with the ONNX graph of one level that they make.

The file of the reader holds the completion too, as a model within the metadata, so that one file is one set of weights.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.methods.onnx_file import OnnxContents, import_onnx, read_onnx
from defocus.methods.pyramid.completion_weights import CompletionWeights
from defocus.methods.pyramid.confidence import is_calibration
from defocus.methods.weights_file import read_contents
from defocus.runtime.atomic import write_bytes

__all__ = [
    "BINS",
    "BINS_PER_LEVEL",
    "DEPTH_CHANNELS",
    "LOG2_SHARPEST",
    "STEM_CHANNELS",
    "STRIDE",
    "PyramidWeights",
    "bin_sigmas",
    "completion_model",
    "read_card",
    "rebuilt",
    "shapes",
]

STEM_CHANNELS, DEPTH_CHANNELS = 32, 64
"""Numbers of channels of the first and of the later layers."""
_READERS = ("finest", "coarser")
"""Sets of weights: one for the finest level, and one for all coarser levels."""
BINS_PER_LEVEL = 5
"""Number of bins per octave of blur: a level of the pyramid halves the photograph, so it shifts bins by this many."""
BINS = 37
"""Number of bins of sigma."""
LOG2_SHARPEST = -1.9
"""log2 of the first bin's sigma in px, 0.268; that of the last bin is 39.4 px."""
STRIDE = 4
"""Side in px of the block of a level that one reading is for."""

_METADATA_KEY, _COMPLETION_KEY = "defocus", "completion"
_KIND = "pyramid"


def bin_sigmas() -> NDArray[np.float64]:
    """Return the sigma of each of the 37 bins, px."""
    return np.asarray(2 ** (LOG2_SHARPEST + np.arange(BINS) / BINS_PER_LEVEL))


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all parameters."""
    stem, depth = STEM_CHANNELS, DEPTH_CHANNELS
    kernels = {
        "stem1": (stem, 1, 6, 6),
        "stem2": (stem, stem, 3, 3),
        "stem3": (depth, stem, 4, 4),
        "read1": (depth, depth, 3, 3),
        "read2": (depth, depth, 3, 3),
        "join": (depth, 2 * depth, 1, 1),
        "fuse1": (depth, depth, 3, 3),
        "fuse2": (depth, depth, 3, 3),
        "head": (BINS, depth, 1, 1),
    }
    named: dict[str, tuple[int, ...]] = {}
    for reader in _READERS:
        for name, shape in kernels.items():
            named |= {f"{reader}.{name}.weight": shape, f"{reader}.{name}.bias": shape[:1]}
    return named


@dataclass(frozen=True)
class PyramidWeights:
    """Parameters of the trained networks.

    Attributes
    ----------
    parameters : float32 arrays of the reader, by the names and in the shapes of `shapes`.
    card : where the weights come from: data, command, seed, figures.
    completion : weights of the completion that was trained on what this reader reads; None if none was.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    card: Mapping[str, Any] = field(default_factory=dict)
    completion: CompletionWeights | None = None

    def __post_init__(self) -> None:
        for name, shape in shapes().items():
            if name not in self.parameters:
                raise WeightsError(f"The weights lack {name}; they are not those of a pyramid network.")
            if self.parameters[name].shape != shape:
                raise WeightsError(
                    f"The weights have {name} of shape {self.parameters[name].shape}; the pyramid needs {shape}."
                )
            if not np.isfinite(self.parameters[name]).all():
                raise WeightsError(f"The weights have numbers in {name} that are not finite; train them again.")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PyramidWeights:
        """Read the parameters of an ONNX file of `save`, to train them further.

        The first files had one reader for all levels; both begin with it.

        Raises
        ------
        WeightsError : the file is missing, damaged or another network.
        """
        source = Path(path)
        contents = read_onnx(read_contents(source).data, source)
        card = read_card(contents.properties, source)
        stored = contents.parameters
        arrays = {name: stored[each] for name in shapes() for each in (name, name.partition(".")[2]) if each in stored}
        return cls(arrays, card, _completion(contents.properties, source))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as one ONNX file, complete under a temporary name and then renamed."""
        write_bytes(Path(path), self.to_onnx())

    def to_onnx(self) -> bytes:
        """One level of the pyramid as an ONNX model.

        Inputs: `pixels` 1 x 1 x H x W (0..1), `coarse_state` 1 x 64 x h x w and `coarse_logits` 1 x 37 x h x w of
        the next coarser level (zeros at the coarsest), H and W divisible by 8, h = H / 8, w = W / 8; `finest`, a bool:
        whether the level is the finest. Outputs: `state` and `logits` of this level, H / 4 x W / 4.
        """
        onnx = import_onnx()  # here, not above: an estimate with this package's weights reads the finished file
        helper = onnx.helper

        def plane(name: str, channels: int, height: str, width: str) -> Any:
            return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, height, width])

        outputs = [plane("state", DEPTH_CHANNELS, "a", "b"), plane("logits", BINS, "a", "b")]
        finest, coarser = (self._reader(reader) for reader in _READERS)
        choice = helper.make_node("If", ["finest"], ["state", "logits"], then_branch=finest, else_branch=coarser)
        graph = helper.make_graph(
            [choice],
            "pyramid",
            [
                plane("pixels", 1, "H", "W"),
                plane("coarse_state", DEPTH_CHANNELS, "h", "w"),
                plane("coarse_logits", BINS, "h", "w"),
                helper.make_tensor_value_info("finest", onnx.TensorProto.BOOL, []),
            ],
            outputs,
        )
        # Opset 17 and IR 8 are read by every ONNX Runtime this package admits.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        properties = {_METADATA_KEY: json.dumps({"kind": _KIND, "card": dict(self.card)})}
        if self.completion is not None:
            properties[_COMPLETION_KEY] = base64.b64encode(self.completion.to_onnx()).decode()
        helper.set_model_props(model, properties)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _reader(self, reader: str) -> Any:
        """The ONNX graph of one reader; its inputs are those of the model."""
        onnx = import_onnx()
        helper = onnx.helper

        constants = [
            onnx.numpy_helper.from_array(np.ascontiguousarray(self.parameters[name], dtype=np.float32), name)
            for name in shapes()
            if name.startswith(f"{reader}.")
        ]
        for name, value in {
            "middle": np.float32(0.5),
            "gain": np.float32(4),
            "twice": np.array([1, 1, 2, 2], np.float32),
            "first": np.array([0], np.int64),
            "kept": np.array([BINS - BINS_PER_LEVEL], np.int64),
            "one": np.array([1], np.int64),
            "repeated": np.array([1, BINS_PER_LEVEL, 1, 1], np.int64),
        }.items():
            constants.append(onnx.numpy_helper.from_array(value, f"{reader}.{name}"))
        nodes = []

        def own(name: str) -> str:
            return f"{reader}.{name}"

        def node(operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(operation, inputs, [own(output)], **attributes))
            return own(output)

        def convolution(name: str, source: str, stride: int = 1) -> str:
            border = (self.parameters[own(f"{name}.weight")].shape[-1] - 1) // 2
            inputs = [source, own(f"{name}.weight"), own(f"{name}.bias")]
            return node("Conv", inputs, name, pads=[border] * 4, strides=[stride] * 2)

        def relu(source: str, name: str) -> str:
            return node("Relu", [source], f"{name}.relu")

        def doubled(source: str) -> str:
            nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return node("Resize", [source, "", own("twice")], f"{source}.doubled", **nearest)

        def convolved(name: str, source: str, stride: int = 1) -> str:
            return relu(convolution(name, source, stride), name)

        centred = node("Mul", [node("Sub", ["pixels", own("middle")], "shifted"), own("gain")], "centred")
        x = convolved("stem3", convolved("stem2", convolved("stem1", centred, 2)), 2)
        x = relu(node("Add", [x, convolution("read2", convolved("read1", x))], "read"), "read")
        x = convolved("join", node("Concat", [x, doubled("coarse_state")], "joined", axis=1))
        x = node("Add", [x, convolution("fuse2", convolved("fuse1", x))], "fused")
        state = node("Relu", [x], "state")
        coarse = doubled("coarse_logits")
        sharpest = node("Slice", [coarse, own("first"), own("one"), own("one")], "sharpest")
        shifted = [
            node("Tile", [sharpest, own("repeated")], "sharper"),
            node("Slice", [coarse, own("first"), own("kept"), own("one")], "blurrier"),
        ]
        logits = node("Add", [node("Concat", shifted, "carried", axis=1), convolution("head", state)], "logits")
        outputs = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, "a", "b"])
            for name, channels in ((state, DEPTH_CHANNELS), (logits, BINS))
        ]
        return helper.make_graph(nodes, reader, [], outputs, constants)


def rebuilt(found: OnnxContents, path: Path) -> bytes:
    """The model of this package with the parameters and the card of a file.

    Raises
    ------
    WeightsError : the file is not a network of this version, or its numbers are not those of one.
    """
    card = read_card(found.properties, path)
    if "finest" not in found.inputs:
        raise WeightsError(f"{path} is of an earlier version; train it further with defocus train --start {path}.")
    parameters = {name: found.parameters[name] for name in shapes() if name in found.parameters}
    return PyramidWeights(parameters, card, _completion(found.properties, path)).to_onnx()


def completion_model(properties: Mapping[str, str], path: Path) -> bytes | None:
    """Return the ONNX model of the completion in the metadata of a reader's file; None if it has none.

    Raises
    ------
    WeightsError : the metadata is damaged.
    """
    text = properties.get(_COMPLETION_KEY)
    try:
        return None if text is None else _decoded(text)
    except (binascii.Error, ValueError) as error:
        raise WeightsError(f"{path} has a damaged completion; train it again.") from error


@lru_cache(maxsize=4)
def _decoded(text: str) -> bytes:
    # Kept, as a photograph after another asks for it.
    return base64.b64decode(text, validate=True)


def _completion(properties: Mapping[str, str], path: Path) -> CompletionWeights | None:
    model = completion_model(properties, path)
    return None if model is None else CompletionWeights.from_onnx(read_onnx(model, path), path)


def read_card(properties: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The model card inside an ONNX file's metadata.

    Raises
    ------
    WeightsError : the metadata is not that of a network written by `PyramidWeights.save`.
    """
    try:
        metadata = json.loads(properties[_METADATA_KEY])
        if metadata["kind"] != _KIND:
            raise KeyError
        card = metadata["card"]
        if not isinstance(card, dict) or not is_calibration(card.get("calibration")):
            raise KeyError
        return card
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a network written by `defocus train --method pyramid`.") from error
