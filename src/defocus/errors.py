"""Errors that a user can mend. Each message is one sentence: what is wrong and what to do.

All derive from `DefocusError`, which is a `ValueError`; the command line prints their message as one line.
"""

__all__ = [
    "DefocusError",
    "MapFileError",
    "ParameterError",
    "PhotographError",
    "PhotographWarning",
    "UndefinedMetricError",
    "WeightsError",
]


class DefocusError(ValueError):
    """Base class of the errors that this package raises on purpose.

    Examples
    --------
    >>> import defocus
    >>> try:
    ...     defocus.estimate("missing.jpg")
    ... except defocus.DefocusError as error:
    ...     print(error)
    There is no file missing.jpg.
    """


class PhotographError(DefocusError):
    """The photograph cannot be read, or its pixels are not a photograph (empty, 1 pixel, NaN, wrong shape).

    Examples
    --------
    >>> import defocus
    >>> defocus.read_photograph(b"no photograph at all")
    Traceback (most recent call last):
    ...
    defocus.errors.PhotographError: the photograph is not a photograph, or damaged at its start: give a JPEG, PNG, \
TIFF, WebP, HEIC or RAW file.
    """


class OutputError(PhotographError):
    """The file is an output of this package where a photograph was wanted."""


class MapFileError(DefocusError):
    """A file is not a defocus map written by this package, or cannot be written.

    Examples
    --------
    >>> import defocus
    >>> defocus.load(".")
    Traceback (most recent call last):
    ...
    defocus.errors.MapFileError: . is a folder: give the path of a .defocus.tiff file.
    """


class ParameterError(DefocusError):
    """A method name, preset or parameter is unknown or outside its range.

    Examples
    --------
    >>> import defocus
    >>> defocus.Lens(focal_length=50, f_number=0, focus_distance=2, sensor_width=36)
    Traceback (most recent call last):
    ...
    defocus.errors.ParameterError: f_number must be above 0, not 0.
    """


class UndefinedMetricError(DefocusError):
    """The metric has no value here: no valid pixel, a truth of one class only, or NaN among the scores.

    Examples
    --------
    >>> raise UndefinedMetricError("No pixel of the truth is valid.")
    Traceback (most recent call last):
    ...
    defocus.errors.UndefinedMetricError: No pixel of the truth is valid.
    """


class WeightsError(DefocusError):
    """A weights file is missing, damaged or of another kind.

    Examples
    --------
    >>> import defocus
    >>> import numpy as np
    >>> defocus.estimate(np.zeros((64, 64)), weights="missing.onnx")
    Traceback (most recent call last):
    ...
    defocus.errors.WeightsError: There is no weights file missing.onnx; give the path of a file of `defocus train`.
    """


class PhotographWarning(UserWarning):
    """The photograph was read, but a part of its file is missing or could not be used.

    Examples
    --------
    >>> import io
    >>> import warnings
    >>> import defocus
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480)).save(file, "PNG")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     photograph = defocus.read_photograph(file.getvalue()[:-200])  # a copy that is cut short
    >>> caught[0].category.__name__
    'PhotographWarning'
    """
