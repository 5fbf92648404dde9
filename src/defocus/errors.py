"""Errors a user can mend. Each message is one sentence: what is wrong and what to do.

All derive from `DefocusError`, which is a `ValueError`; the command line prints their message as one line.
"""


class DefocusError(ValueError):
    """Base of every error this package raises on purpose."""


class PhotographError(DefocusError):
    """The photograph cannot be read, or its pixels are not a photograph (empty, 1 pixel, NaN, wrong shape)."""


class OutputError(PhotographError):
    """The file is an output of this package where a photograph was wanted."""


class MapFileError(DefocusError):
    """A file is not a defocus map written by this package, or cannot be written."""


class ParameterError(DefocusError):
    """A method name, preset or parameter is unknown or outside its range."""


class UndefinedMetricError(DefocusError):
    """The metric has no value here: no valid pixel, a truth of one class only, or NaN among the scores."""


class WeightsError(DefocusError):
    """A weights file is missing, damaged or of another kind."""


class PhotographWarning(UserWarning):
    """The photograph was read, but not everything in its file could be honoured."""
