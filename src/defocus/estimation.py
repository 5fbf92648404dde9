"""The front function: anything that holds a photograph in, its defocus map out."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from defocus.errors import ParameterError
from defocus.methods.registry import Method, find_method

if TYPE_CHECKING:  # numpy and Pillow must not load for `defocus --help`
    from defocus.maps.defocus_map import DefocusMap
    from defocus.maps.map_strips import MapStrips
    from defocus.methods.session import Device
    from defocus.photograph import Photograph, PhotographLike
    from defocus.progress import Progress


@overload
def estimate(
    photo: list[PhotographLike] | tuple[PhotographLike, ...],
    *,
    method: str = "pyramid",
    parameters: Any = None,
    weights: str | os.PathLike[str] | None = None,
    device: Device = "auto",
    progress: Progress | None = None,
) -> list[DefocusMap]: ...


@overload
def estimate(
    photo: PhotographLike,
    *,
    method: str = "pyramid",
    parameters: Any = None,
    weights: str | os.PathLike[str] | None = None,
    device: Device = "auto",
    progress: Progress | None = None,
) -> DefocusMap: ...


def estimate(
    photo: Any,
    *,
    method: str = "pyramid",
    parameters: Any = None,
    weights: str | os.PathLike[str] | None = None,
    device: Device = "auto",
    progress: Progress | None = None,
) -> DefocusMap | list[DefocusMap]:
    """Estimate how far out of focus every pixel of a photograph is.

    Bars and frames around the photograph, transparent pixels and pixels missing from the file are left out: there
    confidence is 0.

    Parameters
    ----------
    photo : a photograph, or a list or tuple of photographs
        Each is a path; the bytes of a file, or a binary file that is open; an array, or anything that NumPy makes one
        of (PyTorch's tensors on the CPU, xarray); a PIL image; or a `Photograph`. Arrays are H x W or H x W x 1, 3 or 4
        (RGB and alpha), uint8, uint16 or float in 0..1, display-referred sRGB, upright. Files are turned upright and
        converted to sRGB. Never modified.
    method : str
        One of `defocus.available_methods()`.
    parameters : None, str or the method's own parameters
        None for the method's defaults, the name of a preset (such as "released"), or, for "dhde",
        a `defocus.DHDEParameters`.
    weights : path, optional
        A weights file for the method's network instead of the one in the package.
    device : "auto", "cpu", "cuda", "openvino", "coreml" or "directml"
        What the network of "pyramid" or "dhde" is run on; other methods run on the CPU. "auto" is an NVIDIA GPU or
        DirectML if the installed ONNX Runtime can use them, or else the CPU. A device that fails leaves the rest to the
        CPU, with a warning. ``metadata["device"]`` of the map is what was used.
    progress : callable, optional
        Called as ``progress(step, fraction)`` with the step's name and the fraction done, 0..1, of each photograph.

    Returns
    -------
    DefocusMap, or a list of them for a list or tuple
        `sigma` is float32, H x W, in px of the upright photograph.

    Raises
    ------
    PhotographError
        If the photograph cannot be read or its pixels are not a photograph.
    ParameterError
        If the method, the preset or a parameter is unknown or outside its range; or if the device is unknown, is not
        there, does not work, or is none that the method can use.
    WeightsError
        If the weights file is missing, damaged or of another kind.

    Examples
    --------
    >>> import defocus
    >>> import numpy as np
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> m = defocus.estimate(photo)
    >>> m.sigma.shape, m.unit, bool(np.median(m.sigma) < 1)
    ((60, 90), 'px', True)
    >>> defocus.estimate(photo, device="cpu").metadata["device"]
    'cpu'
    """
    chosen = find_method(method)
    resolved = find_parameters(chosen, parameters)
    check_device(chosen, device)
    weights_file = None if weights is None else Path(weights)
    if isinstance(photo, list | tuple):
        return [_estimate(each, chosen, resolved, weights_file, device, progress) for each in photo]
    return _estimate(photo, chosen, resolved, weights_file, device, progress)


def estimate_strips(
    photograph: Photograph,
    method: Method,
    parameters: Any,
    weights: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> MapStrips:
    """Estimate a map that is computed strip by strip while it is written, where the method can do so.

    Parameters
    ----------
    photograph : photograph of any size.
    method : method as `find_method` returns it.
    parameters : the method's own parameters, as `find_parameters` returns them.
    weights, device, progress : as for `estimate`.

    Returns
    -------
    MapStrips

    Raises
    ------
    PhotographError, ParameterError, WeightsError
        As `estimate`.

    Examples
    --------
    >>> import numpy as np
    >>> from defocus.photograph import Photograph
    >>> photograph = Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> pyramid = find_method("pyramid")
    >>> estimate_strips(photograph, pyramid, find_parameters(pyramid)).shape
    (60, 90)
    """
    from defocus.maps.map_strips import MapStrips
    from defocus.photograph.content import find_content
    from defocus.runtime.cores import single_blas_thread

    module = method.load()  # before the block, which does not reach a BLAS that is loaded later
    # The products of an estimate are too small for several BLAS threads, which wait for each other at full load: they
    # would take half of all CPU time.
    with single_blas_thread():
        photograph = photograph.in_srgb()
        content = find_content(photograph)
        on_device = {"device": device} if method.has_network else {}
        found = module.estimate(content.cut(photograph), parameters, weights, progress, **on_device)
    inner = found if isinstance(found, MapStrips) else MapStrips.of(found)
    whole = content.put_back(inner, (photograph.height, photograph.width))
    origin = {} if photograph.sha256 is None else {"photograph_sha256": photograph.sha256}
    return replace(whole, metadata={"device": "cpu", **whole.metadata, **origin})


def _estimate(
    photo: PhotographLike,
    method: Method,
    parameters: Any,
    weights: Path | None,
    device: str,
    progress: Progress | None,
) -> DefocusMap:
    from defocus.photograph import as_photograph

    return estimate_strips(as_photograph(photo), method, parameters, weights, device, progress).whole()


def check_device(method: Method, device: str) -> None:
    """See that `method` can be run on a device, as far as can be told without doing it.

    Raises
    ------
    ParameterError
        If the device is unknown or not there, or the method has no network.

    Examples
    --------
    >>> check_device(find_method("zhuo2011"), "cuda")
    Traceback (most recent call last):
    ...
    defocus.errors.ParameterError: zhuo2011 has no network that could be run on cuda: leave the device out.
    """
    from defocus.methods.session import check_device_is_there

    if not method.has_network and device not in ("auto", "cpu"):
        raise ParameterError(f"{method.name} has no network that could be run on {device}: leave the device out.")
    check_device_is_there(device)


def check_weights(method: Method, parameters: Any, weights: Path) -> None:
    """See by a small picture that weights can be used, so that what is wrong with them is said once.

    Raises
    ------
    WeightsError
        If the file is missing, damaged or of another kind.

    Examples
    --------
    >>> check_weights(find_method("pyramid"), find_parameters(find_method("pyramid")), Path("none.onnx"))
    Traceback (most recent call last):
    ...
    defocus.errors.WeightsError: There is no weights file none.onnx; give the path of a file of `defocus train`.
    """
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    estimate(picture, method=method.name, parameters=parameters, weights=weights, device="cpu")


def find_parameters(method: Method, parameters: Any = None) -> Any:
    """Return the parameters of `method` that None, a preset's name or the parameters themselves stand for.

    Raises
    ------
    ParameterError
        If no preset has that name, or the object is not of the method's own class.
    """
    presets = method.load().PRESETS
    if parameters is None:
        return presets["default"]
    if isinstance(parameters, str):
        if parameters not in presets:
            raise ParameterError(
                f"{method.name} has no parameters called {parameters!r}: choose one of {', '.join(presets)}."
            )
        return presets[parameters]
    wanted = type(presets["default"])
    if not isinstance(parameters, wanted):
        raise ParameterError(
            f"{method.name} takes None, the name of a preset ({', '.join(presets)}) or "
            f"{wanted.__name__} as parameters, not {type(parameters).__name__}."
        )
    return parameters


def map_recipe(method: Method, parameters: Any, weights: Path | None = None) -> dict[str, Any]:
    """Return all that a map depends on beside the photograph, as it is kept in the map's file.

    Parameters
    ----------
    method : method as `find_method` returns it.
    parameters : the method's own parameters, as `find_parameters` returns them.
    weights : file of weights, instead of the package's own.

    Raises
    ------
    WeightsError
        If the file of weights cannot be read.

    Examples
    --------
    >>> zhuo = find_method("zhuo2011")
    >>> map_recipe(zhuo, find_parameters(zhuo))["weights_sha256"] is None
    True
    """
    return {
        "method": method.name,
        "parameters": asdict(parameters),
        "weights_sha256": method.weights_sha256(weights),
    }
