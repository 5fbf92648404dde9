"""The DHDE network in PyTorch, for training only; `DHDENetwork.weights` gives what inference reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from defocus.methods.dhde.features.layout import FEATURE_SIZE, FEATURES, HAND_CRAFTED_SIZE, LARGE, SMALL
from defocus.methods.dhde.weights import BLUR_LABELS, CNN_FEATURE_SIZE, DHDEWeights

__all__ = ["ALL_FEATURES", "CNN", "DHDENetwork", "standardisation"]

CNN = "cnn"
ALL_FEATURES = (*FEATURES, CNN)
_BIAS_COLUMNS = {
    scale: [i * FEATURE_SIZE + scale.offset + scale.bins for i in range(len(FEATURES))] for scale in (LARGE, SMALL)
}


class DHDENetwork(nn.Module):  # type: ignore[misc]  # PyTorch is not installed where types are checked
    """CNN feature and classifier (Park et al., CVPR 2017).

    The layers are the paper's. For training, each convolution is followed by batch normalisation, pixels are centred
    and hand-crafted features standardised; `weights` folds all three into the paper's layers.

    Parameters
    ----------
    mean, deviation : 120 float32 each, of the hand-crafted features where their scale is in use (`standardisation`).
    features : which features the classifier sees, of "dct", "gradient", "svd", "cnn"; the others are held at zero.
    dropout : fraction of the classifier's hidden units dropped in training.
    """

    def __init__(
        self,
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
        *,
        features: tuple[str, ...] = ALL_FEATURES,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.features = features
        self.conv1, self.norm1 = nn.Conv2d(3, 25, 3), nn.BatchNorm2d(25)
        self.conv2, self.norm2 = nn.Conv2d(25, 50, 3), nn.BatchNorm2d(50)
        self.conv3, self.norm3 = nn.Conv2d(50, 50, 3), nn.BatchNorm2d(50)
        self.conv4, self.norm4 = nn.Conv2d(50, CNN_FEATURE_SIZE, 1), nn.BatchNorm2d(CNN_FEATURE_SIZE)
        self.fc1 = nn.Linear(HAND_CRAFTED_SIZE + CNN_FEATURE_SIZE, 300)
        self.fc2 = nn.Linear(300, 150)
        self.fc3 = nn.Linear(150, len(BLUR_LABELS))
        self.dropout = nn.Dropout(dropout)
        self.mean: Tensor
        self.deviation: Tensor
        self.used: Tensor
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("deviation", torch.from_numpy(deviation))
        used = np.repeat([feature in features for feature in FEATURES], FEATURE_SIZE).astype(np.float32)
        for columns in _BIAS_COLUMNS.values():
            used[columns] = 1  # which of the two scales it reads is known to every variant
        self.register_buffer("used", torch.from_numpy(used))

    def forward(self, patches: Tensor, hand_crafted: Tensor) -> Tensor:
        """Scores of the 11 labels.

        Parameters
        ----------
        patches : n x 3 x 27 x 27 float, 0..255.
        hand_crafted : n x 120 float.

        Returns
        -------
        n x 11, before the softmax.
        """
        features = self.used * self._standardised(hand_crafted)
        if CNN in self.features:
            deep = self._convolved(patches / 255 - 0.5)
        else:
            deep = features.new_zeros(len(features), CNN_FEATURE_SIZE)
        response = torch.cat([features, deep], dim=1)
        response = self.dropout(functional.relu(self.fc1(response)))
        response = self.dropout(functional.relu(self.fc2(response)))
        scores: Tensor = self.fc3(response)
        return scores

    def _standardised(self, hand_crafted: Tensor) -> Tensor:
        """Features minus their mean where their scale is in use, divided by their deviation."""
        in_use = torch.zeros_like(hand_crafted)
        for scale, columns in _BIAS_COLUMNS.items():
            for column in columns:
                in_use[:, column - scale.bins : column] = hand_crafted[:, column : column + 1]
        return (hand_crafted - in_use * self.mean) / self.deviation

    def _convolved(self, response: Tensor) -> Tensor:
        response = functional.relu(self.norm1(self.conv1(response)))
        response = functional.max_pool2d(response, 3, 3, ceil_mode=True)
        response = functional.relu(self.norm2(self.conv2(response)))
        response = functional.max_pool2d(response, 3, 3, ceil_mode=True)
        response = functional.relu(self.norm3(self.conv3(response)))
        response = functional.relu(self.norm4(self.conv4(response)))
        return response.flatten(1)

    def weights(self, card: Mapping[str, Any], temperature: float = 1.0) -> DHDEWeights:
        """The trained network as the paper's layers alone.

        Parameters
        ----------
        card : the model card to keep with it.
        temperature : the last layer is divided by it, so that probabilities are as confident as they are right.
        """
        parameters: dict[str, NDArray[np.float32]] = {}
        with torch.no_grad():
            for index in range(1, 5):
                convolution, norm = getattr(self, f"conv{index}"), getattr(self, f"norm{index}")
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                weight = convolution.weight * gain[:, None, None, None]
                bias = (convolution.bias - norm.running_mean) * gain + norm.bias
                if index == 1:
                    bias = bias - 0.5 * weight.sum(dim=(1, 2, 3))
                    weight = weight / 255
                parameters[f"conv{index}.weight"], parameters[f"conv{index}.bias"] = weight.numpy(), bias.numpy()
            first = self.fc1.weight.double().clone()
            first[:, :HAND_CRAFTED_SIZE] *= self.used / self.deviation
            for scale, columns in _BIAS_COLUMNS.items():
                for column in columns:
                    values = slice(column - scale.bins, column)
                    # The feature's 1 carries the mean, so the half not in use stays at zero.
                    first[:, column] -= first[:, values] @ self.mean[values].double()
            first[:, :HAND_CRAFTED_SIZE] /= 255
            parameters["fc1.weight"], parameters["fc1.bias"] = first.float().numpy(), self.fc1.bias.numpy()
            parameters["fc2.weight"], parameters["fc2.bias"] = self.fc2.weight.numpy(), self.fc2.bias.numpy()
            parameters["fc3.weight"] = (self.fc3.weight / temperature).numpy()
            parameters["fc3.bias"] = (self.fc3.bias / temperature).numpy()
        return DHDEWeights({name: np.array(values) for name, values in parameters.items()}, card=card)


def standardisation(
    large: NDArray[np.float32], small: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each hand-crafted feature over the patches of the scale it belongs to.

    Parameters
    ----------
    large, small : n x 120 and m x 120 hand-crafted features; a scale may be absent (no rows).

    Returns
    -------
    (mean, deviation), 120 float32 each; the features' 1s keep mean 0 and deviation 1.
    """
    mean, deviation = np.zeros(HAND_CRAFTED_SIZE), np.ones(HAND_CRAFTED_SIZE)
    for scale, rows in ((LARGE, large), (SMALL, small)):
        if not len(rows):
            continue
        for column in _BIAS_COLUMNS[scale]:
            values = slice(column - scale.bins, column)
            mean[values] = rows[:, values].mean(axis=0, dtype=np.float64)
            # The floor keeps a bin that is almost always empty from becoming a loud input.
            deviation[values] = np.maximum(rows[:, values].std(axis=0, dtype=np.float64), 1e-3)
    return mean.astype(np.float32), deviation.astype(np.float32)
