"""The completion of the pyramid method in PyTorch: a U-Net on the readings' grid.

`defocus.methods.pyramid.completion_weights` has the same network as ONNX, for estimates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from defocus.methods.pyramid.completion_weights import CHANNELS, OUTPUTS, WIDTHS, CompletionWeights

__all__ = ["CompletionNetwork", "Prediction"]

_READING, _PROPAGATED = 3, 4
"""Numbers of the planes with half of log2 of sigma, as it was read and as it was propagated."""


class Prediction(NamedTuple):
    """What the network says of each reading; n x h x w each.

    Attributes
    ----------
    log2_sigma : log2 of sigma in px.
    log_scale : natural logarithm of the mean absolute error that the network expects of it; only trained with.
    odds : logarithm of the odds that it is right.
    """

    log2_sigma: Tensor
    log_scale: Tensor
    odds: Tensor


def _pair(inputs: int, outputs: int) -> nn.ModuleDict:
    """Two convolutions; the names are those of `completion_shapes`."""
    return nn.ModuleDict(
        {"1": nn.Conv2d(inputs, outputs, 3, padding=1), "2": nn.Conv2d(outputs, outputs, 3, padding=1)}
    )


def _through(pair: nn.ModuleDict, x: Tensor) -> Tensor:
    return functional.relu(pair["2"](functional.relu(pair["1"](x))))


class CompletionNetwork(nn.Module):  # type: ignore[misc]  # PyTorch is not installed where types are checked
    """A U-Net (Ronneberger et al., MICCAI 2015) that corrects what was propagated.

    Its result is the propagated log2 of sigma, moved towards the reading by a share between 0 and 1, plus a correction.
    A new network has shares of a half and no correction.

    Parameters
    ----------
    dropped : share of the channels of each level that a step of the training leaves out, 0..1. With a few thousand
        scenes a network that always has all of them learns the scenes by heart.
    """

    def __init__(self, dropped: float = 0.0) -> None:
        super().__init__()
        self.dropped = nn.Dropout2d(dropped)
        self.stem = nn.Conv2d(CHANNELS, WIDTHS[0], 4, 2, 1)
        self.first = nn.Conv2d(WIDTHS[0], WIDTHS[0], 3, padding=1)
        levels = range(1, len(WIDTHS))
        for level in levels:
            self.add_module(f"down{level}", _pair(WIDTHS[level - 1], WIDTHS[level]))
        for level in reversed(levels):
            self.add_module(f"up{level - 1}", _pair(WIDTHS[level] + WIDTHS[level - 1], WIDTHS[level - 1]))
        self.head = nn.Conv2d(WIDTHS[0], 4 * OUTPUTS, 1)
        # Only training needs the expected error.
        self.scale = nn.Conv2d(WIDTHS[0], 4, 1)
        for last in (self.head, self.scale):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, planes: Tensor) -> Prediction:
        """Complete what is known of pictures.

        Parameters
        ----------
        planes : n x 15 x h x w, by `defocus.methods.pyramid.completion.evidence_planes`; h and w multiples of 32.
        """
        levels = [functional.relu(self.first(functional.relu(self.stem(planes))))]
        for level in range(1, len(WIDTHS)):
            halved = functional.avg_pool2d(levels[-1], 2)
            levels.append(self.dropped(_through(getattr(self, f"down{level}"), halved)))
        x = levels[-1]
        for level in reversed(range(len(WIDTHS) - 1)):
            doubled = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.dropped(_through(getattr(self, f"up{level}"), torch.cat([doubled, levels[level]], 1)))
        correction, odds_of_reading, odds = functional.pixel_shuffle(self.head(x), 2).unbind(1)
        log_scale = functional.pixel_shuffle(self.scale(x), 2)[:, 0]
        reading, propagated = 2 * planes[:, _READING], 2 * planes[:, _PROPAGATED]
        log2_sigma = propagated + torch.sigmoid(odds_of_reading) * (reading - propagated) + correction
        return Prediction(log2_sigma, log_scale, odds)

    def weights(self, card: Mapping[str, Any]) -> CompletionWeights:
        """Return the trained parameters, without those that only training needs."""
        parameters = {
            name: value.detach().cpu().float().numpy()
            for name, value in self.state_dict().items()
            if not name.startswith("scale.")
        }
        return CompletionWeights(parameters, card)
