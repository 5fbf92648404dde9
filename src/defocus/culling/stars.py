"""Stars from what was measured: by the share in focus, or by the place in the order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from defocus.applications.rank import By, Sharpness
from defocus.errors import ParameterError

__all__ = ["STEPS", "counted_in_focus", "parse_steps", "stars_by_place", "stars_by_share"]

STEPS = (0.1, 0.25, 0.45, 0.7)
"""Shares in focus from which on a photograph has 2, 3, 4 and 5 stars."""


def counted_in_focus(sharpness: Sharpness, by: By = "frame") -> float | None:
    """Return the share in focus that a photograph is filed by; None where nothing can be read.

    A shaken photograph counts as 0: what little can be read in it is no focus.

    Parameters
    ----------
    sharpness : of the photograph.
    by : "frame" or "subject".
    """
    if sharpness.shaken:
        return 0.0
    if by == "subject" and sharpness.subject_in_focus is not None:
        return sharpness.subject_in_focus
    return sharpness.in_focus


def stars_by_share(sharpness: Sharpness, steps: Sequence[float] = STEPS, by: By = "frame") -> int | None:
    """Return 1 to 5 stars by the share in focus; None where nothing can be read.

    Parameters
    ----------
    sharpness : of the photograph.
    steps : shares from which on there are 2, 3, 4 and 5 stars, in ascending order.
    by : "frame" or "subject".

    Examples
    --------
    >>> import numpy as np
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> stars_by_share(defocus.sharpness(defocus.estimate(photo)))
    5
    """
    share = counted_in_focus(sharpness, by)
    return None if share is None else 1 + sum(share >= step for step in steps)


def stars_by_place(measurements: Sequence[Sharpness]) -> list[int | None]:
    """Return 5 stars for the best fifth of those that can be read, 4 for the next, and so on.

    Parameters
    ----------
    measurements : in the order of `defocus.rank`, the best first.
    """
    readable = [index for index, each in enumerate(measurements) if counted_in_focus(each) is not None]
    stars: list[int | None] = [None] * len(measurements)
    for place, index in enumerate(readable):
        stars[index] = 5 - 5 * place // len(readable)
    return stars


def parse_steps(text: str) -> tuple[float, ...]:
    """Return the four shares in a text such as "0.1,0.25,0.45,0.7".

    Raises
    ------
    ParameterError
        If it is anything else.

    Examples
    --------
    >>> parse_steps("0.1,0.2,0.4,0.8")
    (0.1, 0.2, 0.4, 0.8)
    """
    try:
        steps = tuple(float(number) for number in text.split(","))
    except ValueError:
        steps = ()
    if len(steps) != len(STEPS) or not all(0 < step <= 1 for step in steps) or any(a >= b for a, b in pairwise(steps)):
        raise ParameterError(
            f"{text} are no steps of a rating: give four shares in focus in ascending order, from which on there are "
            "2, 3, 4 and 5 stars, such as 0.1,0.25,0.45,0.7."
        )
    return steps
