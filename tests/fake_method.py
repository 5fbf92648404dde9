"""A method that answers at once, so that the doors of the package are tested without a network."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from defocus.maps.defocus_map import DefocusMap, Seeds


@dataclass(frozen=True)
class FakeParameters:
    gain: float = 1.5
    steps: int = 1
    window: tuple[float, float] = (0.25, 0.5)
    strict: bool = False
    mode: Literal["near", "far"] = "near"
    limit: float | None = None
    pause: float = 0.0  # seconds, to be interrupted in


PRESETS: Mapping[str, FakeParameters] = {"default": FakeParameters(), "released": FakeParameters(gain=1.0)}


def estimate(photograph, parameters, weights, progress):
    if parameters.strict:
        raise RuntimeError("a fault of the method")
    if "FAKE_METHOD_STARTED" in os.environ:
        Path(os.environ["FAKE_METHOD_STARTED"]).touch()
    for step in range(parameters.steps):
        if progress:
            progress("waiting", step / parameters.steps)
        time.sleep(parameters.pause)
    sigma = (0.5 + parameters.gain * photograph.as_float(np.float32).mean(axis=2)).astype(np.float32)
    chosen = np.full(sigma.shape, np.nan, np.float32)
    probability = chosen.copy()
    chosen[::2], probability[::2] = sigma[::2], 0.75
    seeds = Seeds(chosen, probability)
    return DefocusMap(
        sigma=sigma,
        confidence=np.where(np.arange(sigma.shape[1]) % 4 == 0, 0.25, 0.5).astype(np.float32) * np.ones_like(sigma),
        saturated=sigma >= 1.9,
        seeds=seeds,
        method="fake",
        sigma_range=(0.5, 2.0),
        metadata={
            "parameters": asdict(parameters),
            "weights": weights and str(weights),
            "weights_sha256": sha256(weights.read_bytes()).hexdigest() if weights and weights.is_file() else None,
        },
    )
