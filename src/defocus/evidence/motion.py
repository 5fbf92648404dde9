"""Detection of blur by movement, of the camera or of a subject, which is not defocus.

Edges along a movement stay sharp, so a map of defocus does not show it. The spectrum does. A straight movement of L px
multiplies the spectrum by sinc(L u), u being the frequency along it: detail is missing along one direction, and
parallel dark bands lie 1 / L apart. Stripes, grass and railings have a direction too, but not these bands, and not the
same one everywhere. So the steps are:

1. the logarithm of the power spectrum of a window around every block of the photograph
2. which of the patterns of sinc fits it, and those of its neighbours, best: that is the direction
3. how sure: a small network looks at the spectra, turned to that direction, of the window, of its neighbours and of all
   of the photograph. It was trained on sharp, defocused and moved photographs (`defocus.training.motion`)
4. where it is sure, how far: by the dark bands along the direction, beside the spectrum across it
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from defocus.filters.box import block_average
from defocus.maps.motion import SURE, Motion, Movement
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.photograph.content import find_content
from defocus.runtime.cores import on_all_cores, single_blas_thread

__all__ = [
    "BLOCK",
    "CERTAINTIES",
    "FEATURES",
    "WEIGHTS",
    "WindowSpectra",
    "find_motion",
    "motion_of",
    "reduction_for_motion",
    "through",
    "window_spectra",
]

_Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("motion.npz")
"""File of the networks' weights, which `python -m defocus.training.motion` writes."""
CERTAINTIES: Mapping[str, int] = {"block": 2, "camera": 3}
"""The networks, and the number of spectra that each looks at: of a window and of its neighbours to tell whether
something has moved there, and also of all of the photograph to tell whether the camera has. That is decided by the mean
of the answers for all windows."""
_WINDOW, BLOCK = 128, 64
"""Side in px of the windows, and of the blocks in the middle of them that they stand for."""
_LARGEST, _MOST_REDUCED = 3_000_000, 128
"""Number of pixels above which a photograph is reduced, as movement is wider in larger photographs, and limit of the
factor."""
_NOISE = 1.0 / 255**2
"""Power of noise, which is added to that of the photograph."""
_DETAIL, _LEAST_FRACTION = 1.0, 0.25
"""Least logarithm of the ratio of detail to noise of a window that shows anything, and least fraction of the windows
that have to show something of a movement of the camera."""
_DIRECTIONS, _BANDS = 36, 20
"""Numbers of directions and of frequency bands of a spectrum."""
_LOWEST, _HIGHEST = 0.02, 0.45
"""Limits of the frequency bands, cycles per px."""
_LEAST_FREQUENCY = 1.5 / _WINDOW
"""Least frequency, cycles per px, that a window shows apart from its mean."""
_PATTERN_LENGTHS = np.geomspace(5, 40, 14)
"""Lengths in px of the patterns by which the direction is found."""
_PATTERN_FLOOR = 0.03
"""Power in the dark bands of these patterns, relative to no movement."""
_SECTORS = ((0, 1), (1, 2), (2, 4), (4, 7), (7, 11), (11, 15), (15, 19))
"""Ranges of the angle from the direction of the movement, in steps of 5 degrees, that a network tells apart."""
FEATURES = _BANDS // 2 * len(_SECTORS)
"""Number of values of a spectrum that a network looks at."""
_LENGTHS = np.geomspace(4, 56, 54)
"""Lengths in px that are told apart."""
_FLOOR = 0.01
"""Power in the dark bands beside which lengths are compared, relative to no movement."""
_MOST_ALONG, _MOST_ACROSS = 0.2, 0.3
"""Highest frequencies along and across the movement by which the length is found, cycles per px."""
_ANOTHER_DIRECTION = 20.0
"""Least difference in degrees from a movement of the camera from which on a block has a movement of its own."""


@dataclass(frozen=True, eq=False)
class WindowSpectra:
    """The spectra of the windows around all blocks of a photograph.

    Attributes
    ----------
    logarithms : float16 h x w x n, logarithm of the power at n frequencies.
    patterns : float32 h x w x lengths x directions, how well the pattern of each movement fits the window and its
        neighbours.
    features : float32 h x w x 3 `FEATURES`, logarithms of the power by band and by angle from the direction that fits
        best: of the window, of it and its neighbours, and of all of the photograph.
    """

    logarithms: NDArray[np.float16]
    patterns: _Floats
    features: _Floats


def reduction_for_motion(height: int, width: int) -> int:
    """Return the factor, a power of two, by which a photograph is to be reduced before movement is looked for.

    Parameters
    ----------
    height, width : size of the photograph, px.

    Examples
    --------
    >>> reduction_for_motion(480, 640), reduction_for_motion(4000, 6000)
    (1, 4)
    """
    wanted = math.sqrt(height * width / _LARGEST)
    return int(min(2 ** max(0, math.ceil(math.log2(wanted))), _MOST_REDUCED))


def motion_of(photograph: Photograph, factor: int | None = None) -> Motion:
    """Look for movement in a photograph, without its bars, frames and hidden pixels.

    Parameters
    ----------
    photograph : photograph of any size.
    factor : by which it is reduced first; `reduction_for_motion` if None. Half of that finds movements half as long.

    Examples
    --------
    >>> motion_of(Photograph(np.zeros((480, 640, 3), np.uint8))).shaken
    False
    """
    content = find_content(photograph)
    part = content.cut(photograph)
    if factor is None:
        factor = reduction_for_motion(part.height, part.width)
    several = factor * max(1, _WINDOW // factor)
    grey = np.concatenate(
        [
            block_average(luma(part.as_float(np.float32, rows=slice(top, top + several)), np.float32), factor)
            for top in range(0, part.height, several)
        ]
    )
    with single_blas_thread():  # several threads would wait for each other: the products are small
        found = find_motion(np.asarray(grey, np.float32), factor, (part.height, part.width))
    return found.placed(content.rows.start, content.columns.start, (photograph.height, photograph.width))


def find_motion(grey: _Floats, factor: int, shape: tuple[int, int]) -> Motion:
    """Look for movement in the luma of a photograph.

    Parameters
    ----------
    grey : luma, 0..1, reduced by `factor`, which `reduction_for_motion` gives.
    factor : side in px of the blocks of the photograph whose means it holds.
    shape : height and width of the photograph, px.

    Returns
    -------
    Motion
        With a side of `grey` below 128 px, nothing is sure. Lengths from about 6 to 50 px of `grey` are measured;
        shorter movements look like defocus, and longer ones are measured as too short.

    Examples
    --------
    >>> motion = find_motion(np.zeros((300, 400), np.float32), 1, (300, 400))
    >>> motion.sure.shape, motion.shaken
    ((5, 7), False)
    """
    if min(grey.shape) < _WINDOW:
        blocks = tuple(-(-side // (BLOCK * factor)) for side in shape)
        nothing = np.zeros(blocks, np.float32)
        return Motion(nothing, nothing, nothing, BLOCK * factor, shape, Movement(0.0, 0.0, 0.0))
    spectra = window_spectra(grey)
    networks, odds = _weights()
    logits = through(networks["block"], spectra.features[..., : CERTAINTIES["block"] * FEATURES])
    has_detail = spectra.features[..., :FEATURES].max(axis=-1) > _DETAIL
    sure = has_detail * _probability(odds["block"][0] * logits + odds["block"][1])
    logit = float(through(networks["camera"], spectra.features).mean())
    camera_sure = float(_probability(odds["camera"][0] * logit + odds["camera"][1]))
    camera_sure *= bool(has_detail.mean() >= _LEAST_FRACTION)
    length, direction = np.zeros_like(sure), np.zeros_like(sure)
    for place in np.argwhere(sure >= SURE):
        # Neighbours that moved too show the bands better than one window does.
        around = tuple(slice(max(at - 1, 0), at + 2) for at in place)
        moved = sure[around] >= SURE
        mean = spectra.logarithms[around][moved].astype(np.float32).mean(axis=0)
        length[tuple(place)], direction[tuple(place)] = _measured(mean, spectra.patterns[tuple(place)])
    camera = Movement(0.0, 0.0, round(camera_sure, 3))
    if camera_sure >= SURE:
        mean = spectra.logarithms.reshape(-1, spectra.logarithms.shape[-1]).mean(axis=0, dtype=np.float32)
        far, way = _measured(mean, spectra.patterns.mean(axis=(0, 1)))
        off = np.abs((direction - way + 90) % 180 - 90)
        shares = (sure < SURE) | (off < _ANOTHER_DIRECTION)
        length[shares], direction[shares] = far, way
        sure = np.maximum(sure, np.float32(camera_sure))
        camera = Movement(round(far * factor, 1), round(way, 1) % 180, round(camera_sure, 3))
    return Motion(
        np.round(length * np.float32(factor), 1),
        np.round(direction, 1) % np.float32(180),
        np.round(sure, 3),
        BLOCK * factor,
        shape,
        camera,
    )


def window_spectra(grey: _Floats) -> WindowSpectra:
    """Return the spectra of a photograph, a window for each block of 64 px.

    Parameters
    ----------
    grey : luma, 0..1, with sides of 128 px or more.

    Examples
    --------
    >>> spectra = window_spectra(np.random.default_rng(0).random((200, 300)).astype(np.float32))
    >>> spectra.features.shape
    (4, 5, 210)
    """
    bank = _bank()
    # A window has its block in the middle, except at the borders of the photograph.
    tops, lefts = (
        np.clip(np.arange(0, side, BLOCK) - (_WINDOW - BLOCK) // 2, 0, side - _WINDOW) for side in grey.shape
    )
    h, w = len(tops), len(lefts)
    logarithms = np.empty((h, w, int(bank.within.sum())), np.float16)
    by_direction = np.empty((h, w, _BANDS * _DIRECTIONS), np.float32)

    def transform(row: int) -> None:
        windows = np.stack([grey[tops[row] : tops[row] + _WINDOW, left : left + _WINDOW] for left in lefts])
        mean = (windows * bank.fade).sum(axis=(1, 2), keepdims=True) / bank.fade.sum()
        spectrum = np.fft.rfft2((windows - mean) * bank.fade)[:, bank.within]
        power = (spectrum.real**2 + spectrum.imag**2) / (bank.fade**2).sum()
        logs = np.log(power / np.float32(_NOISE) + 1)
        logarithms[row] = logs
        by_direction[row] = (bank.means @ logs.T).T

    on_all_cores(transform, range(h))
    centred = bank.centred(by_direction.reshape(h, w, _BANDS, _DIRECTIONS))
    own = centred.reshape(h, w, -1) @ bank.patterns.T
    patterns = _with_neighbours(own).reshape(h, w, len(_PATTERN_LENGTHS), _DIRECTIONS)
    best = patterns.reshape(h, w, -1).argmax(axis=-1) % _DIRECTIONS
    polar = by_direction.reshape(h, w, _BANDS, _DIRECTIONS)
    near = _with_neighbours(polar)
    everywhere = np.broadcast_to(polar.mean(axis=(0, 1)), polar.shape)
    features = np.concatenate([_turned(each, best) for each in (polar, near, everywhere)], axis=-1)
    return WindowSpectra(logarithms, patterns, features)


@dataclass(frozen=True, eq=False)
class _Bank:
    """What the spectra of windows are made and compared with.

    Attributes
    ----------
    fade : factors of a window's pixels.
    within : frequencies of a window that are looked at.
    along, across : these frequencies' two components, to the right and upwards, cycles per px.
    means : sparse matrix that takes the means over bands and directions.
    counts : number of frequencies in each band and direction.
    patterns : patterns of the movements x values of a spectrum.
    """

    fade: _Floats
    within: NDArray[np.bool_]
    along: NDArray[np.float64]
    across: NDArray[np.float64]
    means: Any
    counts: NDArray[np.float64]
    patterns: _Floats

    def centred(self, polar: NDArray[np.floating]) -> NDArray[Any]:
        """Take away the mean over the directions of each band."""
        total = (polar * self.counts).sum(axis=-1, keepdims=True)
        return np.asarray(polar - total / self.counts.sum(axis=-1, keepdims=True), polar.dtype)


@lru_cache(maxsize=1)
def _bank() -> _Bank:
    hann = np.hanning(_WINDOW + 2)[1:-1].astype(np.float32)
    across, along = -np.fft.fftfreq(_WINDOW)[:, None], np.fft.rfftfreq(_WINDOW)[None]
    frequency = np.hypot(along, across)
    within = (frequency >= _LEAST_FREQUENCY) & (frequency < _HIGHEST)
    along, across = (np.broadcast_to(each, within.shape)[within] for each in (along, across))
    frequency = frequency[within]
    band = np.floor((frequency - _LOWEST) / (_HIGHEST - _LOWEST) * _BANDS).astype(int)
    # A frequency between the middles of two directions counts for both.
    turn = np.mod(np.arctan2(across, along), np.pi) / np.pi * _DIRECTIONS - 0.5
    first = np.floor(turn).astype(int)
    inside = np.flatnonzero((band >= 0) & (band < _BANDS))
    places = [band[inside] * _DIRECTIONS + np.mod(first[inside] + step, _DIRECTIONS) for step in (0, 1)]
    later = (turn - first)[inside]
    sums = sparse.csr_matrix(
        (np.concatenate([1 - later, later]), (np.concatenate(places), np.tile(inside, 2))),
        shape=(_BANDS * _DIRECTIONS, len(frequency)),
    )
    counts = np.asarray(sums.sum(axis=1)).reshape(_BANDS, _DIRECTIONS)
    means = (sparse.diags(1 / np.maximum(counts.ravel(), 1e-6)) @ sums).tocsr()
    bank = _Bank(hann[:, None] * hann, within, along, across, means.astype(np.float32), counts, np.empty(0, np.float32))
    shares = counts / counts.sum()
    patterns = np.empty((len(_PATTERN_LENGTHS), _DIRECTIONS, _BANDS, _DIRECTIONS))
    for k in range(_DIRECTIONS):
        angle = (k + 0.5) * np.pi / _DIRECTIONS
        moved = along * np.cos(angle) + across * np.sin(angle)
        for n, length in enumerate(_PATTERN_LENGTHS):
            pattern = means @ np.log(np.sinc(length * moved) ** 2 + _PATTERN_FLOOR)
            patterns[n, k] = bank.centred(pattern.reshape(_BANDS, _DIRECTIONS))
    patterns /= np.sqrt((patterns**2 * shares).sum(axis=(-1, -2), keepdims=True))
    weighted = (patterns * shares).reshape(-1, _BANDS * _DIRECTIONS).astype(np.float32)
    return _Bank(bank.fade, within, along, across, bank.means, counts, weighted)


def _with_neighbours(values: _Floats) -> _Floats:
    """Return means over each window and those around it, itself counting most; values are h x w x others."""
    for axis in (0, 1):
        values = ndimage.correlate1d(values, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    return values


def _turned(polar: _Floats, best: NDArray[np.integer]) -> _Floats:
    """Return spectra by the angle from the direction `best`, either side of it alike: h x w x `FEATURES`."""
    h, w = best.shape
    order = (best[..., None] + np.arange(_DIRECTIONS)) % _DIRECTIONS
    turned = np.take_along_axis(polar, np.broadcast_to(order[:, :, None, :], polar.shape), axis=-1)
    half = _DIRECTIONS // 2
    both = (turned[..., : half + 1] + turned[..., (-np.arange(half + 1)) % _DIRECTIONS]) / 2
    sectors = np.stack([both[..., first:last].mean(axis=-1) for first, last in _SECTORS], axis=-1)
    return np.asarray(sectors.reshape(h, w, _BANDS // 2, 2, len(_SECTORS)).mean(axis=3).reshape(h, w, -1), np.float32)


@lru_cache(maxsize=1)
def _weights() -> tuple[dict[str, list[_Floats]], dict[str, tuple[float, float]]]:
    """Return the layers of each network, matrix and bias in turn, and the factor and offset of its calibration."""
    with np.load(WEIGHTS, allow_pickle=False) as file:
        networks = {name: [file[f"{name}.{n}"] for n in range(6)] for name in CERTAINTIES}
        odds = {name: (float(file[f"{name}.odds"][0]), float(file[f"{name}.odds"][1])) for name in CERTAINTIES}
    return networks, odds


def through(network: list[_Floats], features: _Floats) -> _Floats:
    """Return the answer of a network of three layers: more than 0 for movement, before it is calibrated.

    Parameters
    ----------
    network : its layers, matrix and bias in turn.
    features : ... x n values.

    Returns
    -------
    One number for each n values.

    Examples
    --------
    >>> layers = [np.eye(2, dtype=np.float32), np.zeros(2, np.float32)]
    >>> through(layers * 3, np.float32([[5, 1], [-5, 1]])).tolist()
    [5.0, 0.0]
    """
    values = features
    for n in range(0, len(network), 2):
        values = (np.maximum(values, 0) if n else values) @ network[n] + network[n + 1]
    return values[..., 0]


def _probability(logits: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def _measured(logarithms: _Floats, patterns: _Floats) -> tuple[float, float]:
    """Return length in px and direction in degrees of a movement that is sure.

    Parameters
    ----------
    logarithms : of the power, at each frequency.
    patterns : lengths x directions, how well each pattern fits.
    """
    k = int(patterns.argmax()) % _DIRECTIONS
    fits = patterns[int(patterns.argmax()) // _DIRECTIONS]
    before, at, after = float(fits[k - 1]), float(fits[k]), float(fits[(k + 1) % _DIRECTIONS])
    bend = before - 2 * at + after
    angle = (k + 0.5 + (0.5 * (before - after) / bend if bend < 0 else 0.0)) * np.pi / _DIRECTIONS
    bank, bands = _bank(), int(_MOST_ALONG * _WINDOW)
    profiles = []
    for turn in (angle, angle + np.pi / 2):
        moved = np.abs(bank.along * np.cos(turn) + bank.across * np.sin(turn))
        aside = np.abs(bank.across * np.cos(turn) - bank.along * np.sin(turn))
        place = (moved * _WINDOW).astype(int)
        used = (place < bands) & (aside < _MOST_ACROSS)
        counts = np.bincount(place[used], minlength=bands)
        profiles.append(np.bincount(place[used], logarithms[used], bands) / np.maximum(counts, 1))
    # Across the movement the spectrum falls as it would along it without movement.
    difference = profiles[0] - profiles[1]
    difference -= difference.mean()
    bands_of = _bands_by_length()
    return float(_LENGTHS[int((bands_of @ difference).argmax())]), math.degrees(angle) % 180


@lru_cache(maxsize=1)
def _bands_by_length() -> NDArray[np.float64]:
    """Return the dark bands of each length as a window shows them, lengths x bands, each with mean 0 and norm 1."""
    middles = (np.arange(int(_MOST_ALONG * _WINDOW)) + 0.5) / _WINDOW
    # A window blurs its spectrum by the spectrum of its fading.
    steps = np.linspace(-1.975, 1.975, 80)
    fading = (np.sinc(steps) / (1 - steps**2)) ** 2
    seen = np.sinc(_LENGTHS[:, None, None] * (middles[:, None] + steps / _WINDOW)) ** 2 @ (fading / fading.sum())
    profiles = np.log(seen + _FLOOR)
    profiles -= profiles.mean(axis=1, keepdims=True)
    return np.asarray(profiles / np.linalg.norm(profiles, axis=1, keepdims=True))
