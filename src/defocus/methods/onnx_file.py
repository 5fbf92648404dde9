"""What is taken from somebody's ONNX file: numbers by name, and the text beside them; never its graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError

__all__ = ["OnnxContents", "read_onnx", "trusted_model"]


@dataclass(frozen=True)
class OnnxContents:
    """The parts of an ONNX model that weights are made of.

    Attributes
    ----------
    parameters : float32 arrays by name, those of the branches of an `If` included.
    operations : names of the nodes' outputs of the outermost graph, each with its type of operation.
    inputs : names of the model's inputs.
    properties : its metadata.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    operations: Mapping[str, str]
    inputs: tuple[str, ...]
    properties: Mapping[str, str]


def read_onnx(contents: bytes, path: Path) -> OnnxContents:
    """Read an ONNX model without running it.

    Parameters
    ----------
    contents : of the file.
    path : for the messages.

    Raises
    ------
    WeightsError : the bytes are not an ONNX model, an array is stored outside the file or is not what it says it is.
    """
    try:
        import onnx
    except ImportError as error:
        raise WeightsError("Reading weights of your own needs one more package: pip install onnx.") from error
    try:
        model = onnx.load_from_string(contents)
        if not model.graph.node:
            raise ValueError
        initialisers = _initialisers(model.graph)
    except Exception as error:  # protobuf raises classes of its own
        raise WeightsError(f"{path} is not an ONNX model or is damaged.") from error
    parameters = {}
    for each in initialisers:
        if each.data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(f"{path} stores {each.name} in another file; save the network as a single file.")
        if each.data_type != onnx.TensorProto.FLOAT:
            continue
        try:
            parameters[each.name] = np.array(onnx.numpy_helper.to_array(each), np.float32)
        except Exception as error:  # the size that an array says it has is not the one it has
            raise WeightsError(f"{path} is damaged: its array {each.name} is not of the size that it says.") from error
    operations = {name: node.op_type for node in model.graph.node for name in node.output}
    properties = {each.key: each.value for each in model.metadata_props}
    return OnnxContents(parameters, operations, tuple(each.name for each in model.graph.input), properties)


@lru_cache(maxsize=4)
def trusted_model(contents: bytes, path: Path, rebuilt: Callable[[OnnxContents, Path], bytes]) -> bytes:
    """Return the model of this package with the numbers of somebody's file.

    A graph can hold anything: a loop without end, or an array as large as the memory. So only the numbers of a file are
    used, and the graph that runs is always one that this package made of them.

    Parameters
    ----------
    contents, path : as in `read_onnx`.
    rebuilt : makes the model of a file's parts.

    Raises
    ------
    WeightsError : the numbers are not those of the network.
    """
    return rebuilt(read_onnx(contents, path), path)


def _initialisers(graph: Any, depth: int = 0) -> list[Any]:
    """All constants of an ONNX graph, those of the branches of an `If` included."""
    found = list(graph.initializer)
    if depth < 1:
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "If" and attribute.HasField("g"):
                    found += _initialisers(attribute.g, depth + 1)
    return found
