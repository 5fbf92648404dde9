"""Loopy belief propagation for two states on a stack of grids: the multi-scale inference of Shi, Xu, Jia, CVPR 2014.

Pearl's sum-product rule. With two states everything is a log odds: a node with log odds h (without what the receiver
said) sends log((e^h + d) / (d e^h + 1)), where d is the potential of a pair in different states and 1 that of equals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["layered_beliefs"]

_Floats = NDArray[np.float64]


def layered_beliefs(odds: _Floats, coupling: float, sweeps: int) -> _Floats:
    """Probability of the first state at every node.

    Parameters
    ----------
    odds : L x H x W float64, log of (potential of the first state / potential of the second) of each node. Neighbours
        are the four beside a node in its layer, and the node at the same place in the layers before and after.
    coupling : >= 0; a pair in different states has the potential exp(-coupling), a pair of equals 1.
    sweeps : parallel updates of all messages; information travels one node a sweep. On a chain or a tree, as many
        sweeps as its longest path give the exact answer.

    Returns
    -------
    L x H x W float64, 0..1.
    """
    different = np.exp(-coupling)
    # For each axis, what each node hears from the one before it and from the one after it.
    heard = {(axis, side): np.zeros_like(odds) for axis in range(3) for side in (-1, 1)}
    for _ in range(sweeps):
        total = odds + sum(heard.values())
        told = {}
        for (axis, side), message in heard.items():
            # A node forwards everything but what it heard from that side itself.
            sent = _passed_on(total - message, different)
            told[axis, -side] = _shifted(sent, axis, side)
        heard = told
    total = odds + sum(heard.values())
    return np.asarray(0.5 * (1 + np.tanh(total / 2)))


def _passed_on(odds: _Floats, different: float) -> _Floats:
    return np.asarray(
        np.logaddexp(odds, np.log(different)) - np.logaddexp(odds + np.log(different), 0.0),
    )


def _shifted(sent: _Floats, axis: int, side: int) -> _Floats:
    """Messages at their receivers: one node on along `axis`, towards `side`; nodes at the rim hear nothing."""
    received = np.zeros_like(sent)
    ahead, behind = [slice(None)] * 3, [slice(None)] * 3
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    if side > 0:
        received[tuple(ahead)] = sent[tuple(behind)]
    else:
        received[tuple(behind)] = sent[tuple(ahead)]
    return received
