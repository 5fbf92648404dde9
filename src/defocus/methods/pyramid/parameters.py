"""Parameters of the pyramid method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from defocus.methods.parameters import Fraction, NotNegativeInt, Parameters, Positive, PositiveInt
from defocus.methods.pyramid.blur_reader import FinerLevels

__all__ = ["PyramidParameters"]


@dataclass(frozen=True)
class PyramidParameters(Parameters):
    """Parameters of the pyramid method.

    Attributes
    ----------
    matting_lambda : weight of the readings relative to smoothness along the photograph's colours.
    matting_eps : regularisation of the matting Laplacian.
    least_certainty : certainty at which a reading has no weight (or the photograph's median certainty if that is less),
        so that certain readings fill the rest. Plain surfaces are read with a certainty of about 0.3.
    certainty_power : power of the excess over that certainty, as a fraction of the largest possible excess, that is the
        weight of a reading.
    octave_as_colour : difference of colour, of 0..1, that equals a doubling of sigma from the second round on.
    completion : whether the network of the weights file that is trained for it completes the propagated map; without
        it, and with weights that have none, propagation alone does, in three rounds.
    largest_grid : largest number of nodes of the propagation; with more readings it is solved on blocks of them.
    upsampling_radius : radius of the guided upsampling, in readings of 4 px.
    upsampling_eps : regularisation of the guided upsampling, in squared units of the photograph's 0..1.
    seed_confidence : least confidence of the readings that become the map's `seeds`.
    finer_levels : where the levels of the pyramid are read: "needed" leaves each out where the next coarser one has
        read blur wide enough for it, "everywhere" reads all of them everywhere, and "coarse" leaves the finest one out
        everywhere, which takes less time, and reads blur below 1 px less exactly.
    """

    matting_lambda: Positive = 1.0
    matting_eps: Positive = 1e-3
    least_certainty: Annotated[float, Ge(0), Lt(1)] = 0.3
    certainty_power: Positive = 1.5
    octave_as_colour: Positive = 0.4
    completion: bool = True
    largest_grid: PositiveInt = 100_000
    upsampling_radius: NotNegativeInt = 2
    upsampling_eps: Positive = 1e-3
    seed_confidence: Fraction = 0.5
    finer_levels: FinerLevels = "needed"
