"""Read the weights file the DHDE authors released (Caffe's binary protobuf), without Caffe."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from defocus.errors import WeightsError
from defocus.methods.dhde.weights import SHAPES, DHDEWeights
from defocus.methods.onnx_file import import_onnx

__all__ = ["read_caffemodel"]


@cache
def _net_parameter() -> Any:
    """Message class with the few fields of Caffe's NetParameter that hold weights; all others are skipped."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    schema = descriptor_pb2.FileDescriptorProto(name="caffe_weights.proto", package="caffe_weights", syntax="proto2")

    def message(name: str, *fields: tuple[str, int, int, bool, str | None]) -> None:
        described = schema.message_type.add(name=name)
        for field, number, kind, repeated, type_name in fields:
            entry = described.field.add(name=field, number=number, type=kind)
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if type_name:
                entry.type_name = f".caffe_weights.{type_name}"
            elif repeated:
                entry.options.packed = True

    message("BlobShape", ("dim", 1, kinds.TYPE_INT64, True, None))
    message(
        "BlobProto",
        ("data", 5, kinds.TYPE_FLOAT, True, None),
        ("shape", 7, kinds.TYPE_MESSAGE, False, "BlobShape"),
    )
    message(
        "LayerParameter",
        ("name", 1, kinds.TYPE_STRING, False, None),
        ("blobs", 7, kinds.TYPE_MESSAGE, True, "BlobProto"),
    )
    message("NetParameter", ("layer", 100, kinds.TYPE_MESSAGE, True, "LayerParameter"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe_weights.NetParameter"))


def read_caffemodel(path: Path) -> DHDEWeights:
    """The authors' weights from `DHDE_model.caffemodel`.

    Caffe saw every patch transposed, because MATLAB stores columns first; the convolution kernels are transposed here,
    so that they read upright patches.

    Parameters
    ----------
    path : the file.

    Returns
    -------
    DHDEWeights with rounded features and bounded scores, as the released network was trained.

    Raises
    ------
    WeightsError : the file is not a Caffe model, is cut short, or holds another network; or the package `onnx` is not
        installed.
    """
    import_onnx()  # protobuf comes with it, and the network that is made of the weights needs it
    from google.protobuf.message import DecodeError

    network = _net_parameter()()
    try:
        network.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise WeightsError(f"{path} is not a Caffe model or is cut short; download it again.") from error
    parameters = {}
    for layer in network.layer:
        for blob, kind in zip(layer.blobs, ("weight", "bias"), strict=False):
            name = f"{layer.name}.{kind}"
            if name not in SHAPES:
                continue
            values, shape = np.array(blob.data, dtype=np.float32), tuple(blob.shape.dim)
            if values.size != np.prod(shape, dtype=int):
                raise WeightsError(f"{path} has a damaged layer {layer.name}; download it again.")
            values = values.reshape(shape)
            parameters[name] = values.swapaxes(2, 3).copy() if values.ndim == 4 else values
    if not parameters:
        raise WeightsError(f"{path} holds no layer of the DHDE network.")
    return DHDEWeights(
        parameters, rounded_features=True, bounded_scores=True, card={"name": "weights released by the DHDE authors"}
    )
