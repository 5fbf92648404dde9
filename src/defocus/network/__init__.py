"""The CNN feature and the classifier over blur labels: weights, their files, and inference without PyTorch."""

from defocus.network.classifier import PatchClassifier
from defocus.network.weights import BLUR_LABELS, CNN_PATCH_WIDTH, DHDEWeights

__all__ = ["BLUR_LABELS", "CNN_PATCH_WIDTH", "DHDEWeights", "PatchClassifier"]
