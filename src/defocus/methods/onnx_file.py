"""Reading of ONNX files that users supply: arrays by name and metadata, but never the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError

__all__ = ["OnnxContents", "import_onnx", "read_onnx", "trusted_model"]


@dataclass(frozen=True)
class OnnxContents:
    """The parts of an ONNX model that weights are read from.

    Attributes
    ----------
    parameters : arrays of 32 or 16 bits by name, as float32, including those of the branches of an `If`.
    operations : type of operation of each node of the outermost graph, by the names of its outputs.
    inputs : names of the model's inputs.
    properties : metadata of the model.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    operations: Mapping[str, str]
    inputs: tuple[str, ...]
    properties: Mapping[str, str]


def import_onnx() -> Any:
    """Return the package `onnx`, which only weights need that are not this package's own; importing it takes 0.2 s.

    Raises
    ------
    WeightsError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise WeightsError("Networks of your own need one more package: pip install onnx.") from error
    return onnx


def read_onnx(contents: bytes, path: Path) -> OnnxContents:
    """Read an ONNX model without running it.

    Parameters
    ----------
    contents : bytes of the file.
    path : path of the file, for messages.

    Raises
    ------
    WeightsError
        If the bytes are not an ONNX model, an array is stored outside the file or differs from its description, or the
        package `onnx` is not installed.
    """
    onnx = import_onnx()
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
        if each.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            continue
        try:
            parameters[each.name] = np.array(onnx.numpy_helper.to_array(each), np.float32)
        except Exception as error:  # the stated size of the array is not its real one
            raise WeightsError(f"{path} is damaged: its array {each.name} is not of the size that it says.") from error
    operations = {name: node.op_type for node in model.graph.node for name in node.output}
    properties = {each.key: each.value for each in model.metadata_props}
    return OnnxContents(parameters, operations, tuple(each.name for each in model.graph.input), properties)


@lru_cache(maxsize=4)
def trusted_model(contents: bytes, path: Path, rebuilt: Callable[[OnnxContents, Path], bytes]) -> bytes:
    """Return the model of this package with the numbers of a file that a user supplies.

    A graph can contain anything: an endless loop, or an array as large as the memory. So only the numbers of a file are
    used, and the graph that runs is always built by this package.

    Parameters
    ----------
    contents, path : as in `read_onnx`.
    rebuilt : function that builds the model from the parts of a file.

    Raises
    ------
    WeightsError
        If the numbers are not those of the network.
    """
    return rebuilt(read_onnx(contents, path), path)


def _initialisers(graph: Any, depth: int = 0) -> list[Any]:
    """Return all constants of an ONNX graph, including those of the branches of an `If`."""
    initialisers = list(graph.initializer)
    if depth < 1:
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "If" and attribute.HasField("g"):
                    initialisers += _initialisers(attribute.g, depth + 1)
    return initialisers
