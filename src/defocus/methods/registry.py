"""The methods of this package. A new one is a folder or file beside this one and one entry in `METHODS`.

A method is the module `defocus.methods.NAME`, which has `PRESETS` (parameters by name, one of them "default") and
`estimate(photograph, parameters, weights, progress) -> DefocusMap`. That of a method with a network has `device` as its
last parameter, and writes the device that was used into the map's metadata. Its folder contains the trained weights.
The module that trains them is `defocus.training.NAME` (see `defocus.training.trainer`), that of a further network in
them `defocus.training.NAME.PART`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy must not load for `defocus --help`
    from defocus.maps.defocus_map import DefocusMap
    from defocus.photograph import Photograph
    from defocus.progress import Progress
    from defocus.training.trainer import Trainer

__all__ = ["METHODS", "Method", "MethodModule", "available_methods", "find_method"]


class MethodModule(Protocol):
    """The interface of the module of a method.

    Examples
    --------
    >>> module = find_method("zhuo2011").load()
    >>> sorted(module.PRESETS)
    ['default']
    """

    @property
    def PRESETS(self) -> Mapping[str, Any]:
        """Parameters by name of the preset; "default" always exists."""

    def estimate(
        self, photograph: Photograph, parameters: Any, weights: Path | None, progress: Progress | None, **device: str
    ) -> DefocusMap:
        """Estimate the map of one photograph; `device` is given to methods that have a network, and only to them."""


@dataclass(frozen=True)
class Method:
    """An entry of the registry.

    Attributes
    ----------
    name : name that `estimate(method=...)` and `--method` take, and the name of the method's module.
    summary : one line, with the source.
    unit : unit of the map's values: "px" for the standard deviation of a Gaussian in pixels of the photograph,
        "score" for a blur score from 0 to 1 without a physical unit.
    weights : name of the file in the method's folder with its trained weights; None if the method is not trained.
    parts : further networks in the weights, each of which is trained by itself when the first one is finished.
    has_network : whether it has a network, which can be run on other devices than the CPU.
    tells_depth : whether its maps have a `relative_depth`.
    module : dotted name of its module, for a method of another package; empty for `defocus.methods.NAME`.

    Examples
    --------
    >>> method = find_method("shi2014")
    >>> method.unit, method.weights
    ('score', 'shi2014.npz')
    """

    name: str
    summary: str
    unit: str
    weights: str | None = None
    parts: tuple[str, ...] = ()
    has_network: bool = False
    tells_depth: bool = False
    module: str = ""

    def weights_file(self, given: Path | None = None) -> Path | None:
        """Return the file that weights are read from: `given`, or the package's own; None if there are no weights.

        Examples
        --------
        >>> find_method("dhde").weights_file().name
        'dhde.onnx'
        >>> find_method("zhuo2011").weights_file() is None
        True
        """
        if given is not None or self.weights is None:
            return given
        return Path(__file__).parent / self.name / self.weights

    def weights_sha256(self, given: Path | None = None) -> str | None:
        """Return the SHA-256 of the weights that the method would use; None for a method without weights.

        Raises
        ------
        WeightsError
            If the file is missing or cannot be read.

        Examples
        --------
        >>> len(find_method("dhde").weights_sha256())
        64
        """
        from defocus.methods.weights_file import read_contents

        file = self.weights_file(given)
        return None if file is None else read_contents(file).sha256

    def load(self) -> MethodModule:
        """Import the method's module, which may take a second.

        Examples
        --------
        >>> find_method("zhuo2011").load().__name__
        'defocus.methods.zhuo2011'
        """
        return cast(MethodModule, importlib.import_module(self.module or f"defocus.methods.{self.name}"))

    def load_trainer(self, part: str | None = None) -> Trainer:
        """Import the module that trains the method's weights.

        Parameters
        ----------
        part : one of `parts`; None for the first network, or for all that the weights are.

        Raises
        ------
        ParameterError
            If the method has no weights, or no such part.

        Examples
        --------
        >>> find_method("zhuo2011").load_trainer()
        Traceback (most recent call last):
        ...
        defocus.errors.ParameterError: zhuo2011 has no weights to train: choose one of pyramid, dhde, shi2014, \
shi2015jnb, shi2015tog.
        """
        if self.weights is None:
            trained = ", ".join(method.name for method in METHODS.values() if method.weights)
            raise ParameterError(f"{self.name} has no weights to train: choose one of {trained}.")
        if part is not None and part not in self.parts:
            parts = f"choose {' or '.join(self.parts)}, or leave it out" if self.parts else "leave it out"
            raise ParameterError(f"The weights of {self.name} have no part {part!r}: {parts}.")
        name = self.name if part is None else f"{self.name}.{part}"
        return cast("Trainer", importlib.import_module(f"defocus.training.{name}"))


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "pyramid",
            "This package's own: DHDE extended to blur of any size, read at every pixel and at five resolutions",
            "px",
            weights="pyramid.onnx",
            parts=("completion",),
            has_network=True,
        ),
        Method(
            "dhde",
            "Park et al., CVPR 2017: deep and hand-crafted features of patches at edges, then propagation",
            "px",
            weights="dhde.onnx",
            has_network=True,
        ),
        Method(
            "zhuo2011",
            "Zhuo & Sim, Pattern Recognition 2011: ratio of gradients before and after a re-blur, at edges",
            "px",
        ),
        Method(
            "shi2014",
            "Shi, Xu, Jia, CVPR 2014: kurtosis, gradients, spectrum and learned filters, a blur score and no sigma",
            "score",
            weights="shi2014.npz",
        ),
        Method(
            "shi2015jnb",
            "Shi, Xu, Jia, CVPR 2015: just noticeable blur, by the number of atoms that a patch needs",
            "px",
            weights="shi2015jnb.npz",
        ),
        Method(
            "shi2015tog",
            "After Shi, Tao, Xu, Jia, TOG 2015, re-derived from the project page: matching of edgelets, and depth",
            "px",
            weights="shi2015tog.npz",
            tells_depth=True,
        ),
        Method(
            "karaali2018",
            "Karaali & Jung, TIP 2018: re-blur scale adapted to each edge, domain-transform propagation",
            "px",
        ),
    )
}


def find_method(name: str) -> Method:
    """Return the method called `name`.

    Raises
    ------
    ParameterError
        If there is none; the message lists all methods.

    Examples
    --------
    >>> find_method("dhde").unit
    'px'
    """
    if name not in METHODS:
        raise ParameterError(f"There is no method {name!r}: choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def available_methods() -> dict[str, str]:
    """Return the available methods.

    Returns
    -------
    One line for each name: what the method is and where it was published.

    Examples
    --------
    >>> import defocus
    >>> print(", ".join(defocus.available_methods()))
    pyramid, dhde, zhuo2011, shi2014, shi2015jnb, shi2015tog, karaali2018
    """
    return {method.name: method.summary for method in METHODS.values()}
