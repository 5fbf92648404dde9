"""The methods this package offers. A new one is a module of its own and one line in `METHODS`.

A method's module has `PRESETS` (name to parameters, "default" among them) and
`estimate(photograph, parameters, weights, progress) -> DefocusMap`.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy must not load for `defocus --help`
    from pathlib import Path

    from defocus.defocus_map import DefocusMap
    from defocus.photograph import Photograph
    from defocus.progress import Progress

__all__ = ["METHODS", "Method", "MethodModule", "find_method", "methods"]


class MethodModule(Protocol):
    """What the module of a method offers."""

    @property
    def PRESETS(self) -> Mapping[str, Any]:
        """Parameters by name; the key "default" exists."""

    def estimate(
        self, photograph: Photograph, parameters: Any, weights: Path | None, progress: Progress | None
    ) -> DefocusMap:
        """Estimate the map of one photograph."""


@dataclass(frozen=True)
class Method:
    """An entry of the registry.

    Attributes
    ----------
    name : what `estimate(method=...)` and `--method` take.
    summary : one line, with the source.
    module : dotted name of the module, imported on first use.
    unit : unit of the map's values, "px" for a Gaussian sigma in pixels of the photograph,
        "score" for a blur score 0..1 without physical unit.
    weights : file in the package's folder of weights that it reads unless given another; None if it needs none.
    tells_depth : whether its maps have a `relative_depth`.
    """

    name: str
    summary: str
    module: str
    unit: str
    weights: str | None = None
    tells_depth: bool = False

    def weights_sha256(self, given: Path | None = None) -> str | None:
        """SHA-256 of the weights file the method would use, `given` or this package's; None for a method without."""
        from defocus.weights_file import SHIPPED

        path = given if given is not None else SHIPPED / self.weights if self.weights else None
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()

    def load(self) -> MethodModule:
        """Import the method's module, which may take a second."""
        return cast(MethodModule, importlib.import_module(self.module))


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "pyramid",
            "This package's own: DHDE carried on to blur of any size, read at every pixel and at five resolutions",
            "defocus.methods.pyramid",
            "px",
            weights="pyramid.onnx",
        ),
        Method(
            "dhde",
            "Park et al., CVPR 2017: deep and hand-crafted features of patches at edges, then propagation",
            "defocus.methods.dhde",
            "px",
            weights="dhde.onnx",
        ),
        Method(
            "zhuo2011",
            "Zhuo & Sim, Pattern Recognition 2011: ratio of gradients before and after a re-blur, at edges",
            "defocus.methods.zhuo2011",
            "px",
        ),
        Method(
            "shi2014",
            "Shi, Xu, Jia, CVPR 2014: kurtosis, gradients, spectrum and learned filters, a blur score and no sigma",
            "defocus.methods.shi2014",
            "score",
            weights="shi2014.npz",
        ),
        Method(
            "shi2015jnb",
            "Shi, Xu, Jia, CVPR 2015: just noticeable blur, by the number of atoms that a patch needs",
            "defocus.methods.shi2015jnb",
            "px",
            weights="shi2015jnb.npz",
        ),
        Method(
            "shi2015tog",
            "After Shi, Tao, Xu, Jia, TOG 2015, re-derived from the project page: matching of edgelets, and depth",
            "defocus.methods.shi2015tog",
            "px",
            weights="shi2015tog.npz",
            tells_depth=True,
        ),
        Method(
            "karaali2018",
            "Karaali & Jung, TIP 2018: re-blur scale adapted to each edge, domain-transform propagation",
            "defocus.methods.karaali2018",
            "px",
        ),
    )
}


def find_method(name: str) -> Method:
    """Return the method called `name`.

    Raises
    ------
    ParameterError
        If there is none; the message lists those there are.
    """
    if name not in METHODS:
        raise ParameterError(f"There is no method {name!r}: choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def methods() -> dict[str, str]:
    """Return the methods on offer: name to one line that says what it is and where it comes from."""
    return {method.name: method.summary for method in METHODS.values()}
