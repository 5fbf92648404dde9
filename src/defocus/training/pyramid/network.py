"""The network of the pyramid method in PyTorch: one reader for the finest level of a pyramid and one for the others.

`defocus.methods.pyramid.weights` has the same network as ONNX, for estimates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from defocus.methods.pyramid.weights import BINS, BINS_PER_LEVEL, DEPTH_CHANNELS, STEM_CHANNELS, PyramidWeights

__all__ = ["LevelReader", "PyramidNetwork"]


class LevelReader(nn.Module):  # type: ignore[misc]  # PyTorch is not installed where types are checked
    """Log-likelihoods of blur at every fourth pixel of one level, added to what the next coarser one said."""

    def __init__(self) -> None:
        super().__init__()
        stem, depth = STEM_CHANNELS, DEPTH_CHANNELS
        # Kernels of even width keep a reading in the middle of the 4 x 4 px it stands for.
        self.stem1 = nn.Conv2d(1, stem, 6, 2, 2)
        self.stem2 = nn.Conv2d(stem, stem, 3, 1, 1)
        self.stem3 = nn.Conv2d(stem, depth, 4, 2, 1)
        self.read1 = nn.Conv2d(depth, depth, 3, 1, 1)
        self.read2 = nn.Conv2d(depth, depth, 3, 1, 1)
        self.join = nn.Conv2d(2 * depth, depth, 1)
        self.fuse1 = nn.Conv2d(depth, depth, 3, 1, 1)
        self.fuse2 = nn.Conv2d(depth, depth, 3, 1, 1)
        self.head = nn.Conv2d(depth, BINS, 1)
        for layer in self.children():
            convolution = cast(nn.Conv2d, layer)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, convolution.bias))
        for last in (self.read2, self.fuse2, self.head):
            nn.init.normal_(last.weight, std=0.01)

    def forward(self, pixels: Tensor, state: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """State and logits of a level, from its pixels and those of the next coarser one at half its size."""
        x = functional.relu(self.stem1((pixels - 0.5) * 4))
        x = functional.relu(self.stem2(x))
        x = functional.relu(self.stem3(x))
        x = x + self.read2(functional.relu(self.read1(x)))
        height, width = x.shape[2:]
        state = state.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]
        logits = logits.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]
        x = functional.relu(self.join(torch.cat([functional.relu(x), state], 1)))
        x = functional.relu(x + self.fuse2(functional.relu(self.fuse1(x))))
        # What the coarser level calls sigma is 2 sigma here; its sharpest bin stands for all sharper ones.
        carried = torch.cat([logits[:, :1].expand(-1, BINS_PER_LEVEL, -1, -1), logits[:, :-BINS_PER_LEVEL]], 1)
        return x, carried + self.head(x)


class PyramidNetwork(nn.Module):  # type: ignore[misc]
    """The finest level shows noise, demosaicing and JPEG, which halving averages away: it has a reader of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.finest = LevelReader()
        self.coarser = LevelReader()

    def forward(self, pixels: Tensor, levels: int, window: tuple[slice, slice] | None = None) -> list[Tensor]:
        """Logits of all levels, the finest first.

        Parameters
        ----------
        pixels : n x 1 x H x W, 0..1, display-referred luma; H and W divisible by 4 * 2**(levels - 1).
        levels : of the pyramid, each half the size of the one before.
        window : the part of the finest level to read, px divisible by 8; None for all of it. The finest level has
            three quarters of all pixels, and neighbouring ones teach the same.
        """
        pyramid = [pixels]
        for _ in range(levels - 1):
            pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
        count, _, height, width = pyramid[-1].shape
        shape = (-(-height // 8), -(-width // 8))
        state = pixels.new_zeros((count, DEPTH_CHANNELS, *shape))
        logits = pixels.new_zeros((count, BINS, *shape))
        found: list[Tensor] = []
        for level in reversed(range(levels)):
            plane = pyramid[level]
            if level == 0 and window is not None:
                rows, columns = window
                plane = plane[:, :, rows, columns]
                above = (slice(rows.start // 8, rows.stop // 8), slice(columns.start // 8, columns.stop // 8))
                state, logits = state[:, :, *above], logits[:, :, *above]
            reader = self.finest if level == 0 else self.coarser
            state, logits = reader(plane, state, logits)
            found.insert(0, logits)
        return found

    def load_weights(self, weights: PyramidWeights) -> None:
        """Go on from weights that were trained before."""
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.parameters.items()})

    def weights(self, card: Mapping[str, Any]) -> PyramidWeights:
        """The trained parameters, to be saved as ONNX."""
        parameters = {name: value.detach().cpu().float().numpy() for name, value in self.state_dict().items()}
        return PyramidWeights(parameters, card=card)
