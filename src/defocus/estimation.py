"""The front function: anything that holds a photograph in, its defocus map out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from defocus.errors import ParameterError
from defocus.methods.registry import Method, find_method

if TYPE_CHECKING:  # numpy and Pillow must not load for `defocus --help`
    from defocus.maps.defocus_map import DefocusMap
    from defocus.photograph import PhotographLike
    from defocus.progress import Progress


@overload
def estimate(
    photo: list[PhotographLike] | tuple[PhotographLike, ...],
    *,
    method: str = "pyramid",
    parameters: Any = None,
    weights: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[DefocusMap]: ...


@overload
def estimate(
    photo: PhotographLike,
    *,
    method: str = "pyramid",
    parameters: Any = None,
    weights: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> DefocusMap: ...


def estimate(
    photo: Any,
    *,
    method: str = "pyramid",
    parameters: Any = None,
    weights: str | os.PathLike[str] | None = None,
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
        If the method, the preset or a parameter is unknown or outside its range.
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
    """
    chosen = find_method(method)
    resolved = find_parameters(chosen, parameters)
    weights_file = None if weights is None else Path(weights)
    if isinstance(photo, list | tuple):
        return [_estimate(each, chosen, resolved, weights_file, progress) for each in photo]
    return _estimate(photo, chosen, resolved, weights_file, progress)


def _estimate(
    photo: PhotographLike, method: Method, parameters: Any, weights: Path | None, progress: Progress | None
) -> DefocusMap:
    from defocus.photograph import as_photograph
    from defocus.photograph.content import find_content
    from defocus.runtime.cores import single_blas_thread

    module = method.load()  # before the block, which does not reach a BLAS that is loaded later
    # The products of an estimate are too small for several BLAS threads, which wait for each other at full load: they
    # would take half of all CPU time.
    with single_blas_thread():
        photograph = as_photograph(photo).in_srgb()
        content = find_content(photograph)
        inner = module.estimate(content.cut(photograph), parameters, weights, progress)
        whole = content.put_back(inner, (photograph.height, photograph.width))
    if photograph.sha256 is None:
        return whole
    return replace(whole, metadata={**whole.metadata, "photograph_sha256": photograph.sha256})


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
