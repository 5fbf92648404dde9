"""The parameters of a method: declared once, checked, described, and set from texts such as `name=value`.

A method's parameters are a frozen dataclass that inherits `Parameters`. The annotation of a field states which values
are allowed (`Positive`, `NotNegative`, `Thresholds`, a `Literal`, ...), and the docstring of the class what it means.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
import operator
import re
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from defocus.errors import ParameterError

__all__ = [
    "Ascending",
    "Fraction",
    "NotNegative",
    "NotNegativeInt",
    "Parameter",
    "Parameters",
    "Positive",
    "PositiveInt",
    "Thresholds",
    "describe_parameters",
    "set_parameters",
]

AnyParameters = TypeVar("AnyParameters", bound="Parameters")


@dataclasses.dataclass(frozen=True)
class Ascending:
    """A constraint on a tuple: its numbers increase, and lie between two bounds, which are excluded.

    Attributes
    ----------
    above, below : the bounds.

    Examples
    --------
    >>> Ascending(0, 1).holds((0.1, 0.2)), Ascending(0, 1).holds((0.2, 0.1))
    (True, False)
    """

    above: float
    below: float

    def holds(self, values: tuple[float, ...]) -> bool:
        """Return whether a tuple satisfies the constraint.

        Examples
        --------
        >>> Ascending(0, 1).holds((0.5, 1.0))
        False
        """
        bounded = (self.above, *values, self.below)
        return all(low < high for low, high in itertools.pairwise(bounded))

    def __str__(self) -> str:
        return f"low before high, between {self.above:g} and {self.below:g}"


Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
PositiveInt: TypeAlias = Annotated[int, Gt(0)]
NotNegativeInt: TypeAlias = Annotated[int, Ge(0)]
Fraction: TypeAlias = Annotated[float, Ge(0), Le(1)]
Thresholds: TypeAlias = Annotated[tuple[float, float], Ascending(0, 1)]
"""Two thresholds of Canny, low and high, as fractions of the largest gradient."""

_BOUNDS: tuple[tuple[type, str, Any, str], ...] = (
    (Gt, "gt", operator.gt, "above"),
    (Ge, "ge", operator.ge, "at least"),
    (Lt, "lt", operator.lt, "below"),
    (Le, "le", operator.le, "at most"),
)


class Parameters:
    """Base class of parameters: every field is checked against its annotation when an object is created.

    Raises
    ------
    ParameterError
        If a value is of another type than its field, or outside what the annotation allows.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Smoothing(Parameters):
    ...     sigma: Positive = 1.5
    >>> Smoothing(sigma=-1)
    Traceback (most recent call last):
    ...
    defocus.errors.ParameterError: sigma must be a number above 0; got -1.
    """

    def __post_init__(self) -> None:
        for name, annotation in _annotations(type(self)).items():
            value = getattr(self, name)
            if not _fits(value, annotation):
                raise ParameterError(f"{name} must be {_allowed(annotation)}; got {value!r}.")


class Parameter(NamedTuple):
    """Description of one parameter.

    Attributes
    ----------
    name : name, as `--set` takes it.
    default : value in the default preset, as `--set` takes it.
    allowed : allowed values, such as "a number above 0".
    meaning : meaning, from the docstring of the class.

    Examples
    --------
    >>> from defocus import DHDEParameters
    >>> parameter = describe_parameters(DHDEParameters())[2]
    >>> parameter.name, parameter.default, parameter.allowed
    ('local_window', '65', 'a whole number at least 0')
    """

    name: str
    default: str
    allowed: str
    meaning: str


def describe_parameters(parameters: Parameters) -> list[Parameter]:
    """Describe every parameter of a method: its value, its allowed values and its meaning.

    Parameters
    ----------
    parameters : object whose values are described as the defaults.

    Returns
    -------
    One `Parameter` per field, in the order of the fields.

    Examples
    --------
    >>> from defocus import DHDEParameters
    >>> describe_parameters(DHDEParameters())[0].allowed
    '2 numbers separated by a comma, low before high, between 0 and 1'
    """
    meanings = dict(_meanings(type(parameters).__doc__ or ""))
    return [
        Parameter(name, _as_text(getattr(parameters, name)), _allowed(annotation), meanings[name])
        for name, annotation in _annotations(type(parameters)).items()
    ]


def set_parameters(parameters: AnyParameters, settings: Iterable[str]) -> AnyParameters:
    """Return parameters with some values replaced.

    Parameters
    ----------
    parameters : object with the other values.
    settings : texts ``name=value``. A value is a number, true or false, or a word; several numbers are separated by
        commas; "none" stands for None where it is allowed.

    Raises
    ------
    ParameterError
        If a text has no ``=``, no parameter has that name, or the value is not allowed.

    Examples
    --------
    >>> from defocus import DHDEParameters
    >>> set_parameters(DHDEParameters(), ["reduction=1"]).reduction
    1
    """
    annotations = _annotations(type(parameters))
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise ParameterError(f"--set takes name=value, not {setting!r}.")
        if name not in annotations:
            raise ParameterError(f"There is no parameter {name!r}: choose one of {', '.join(annotations)}.")
        try:
            changes[name] = _parse(text.strip(), annotations[name])
        except ValueError as error:
            raise ParameterError(f"{name} cannot be {text.strip()!r}: {error}.") from error
    return dataclasses.replace(parameters, **changes)  # type: ignore[type-var]


def _annotations(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type of an annotation and its constraints."""
    if get_origin(annotation) is Annotated:
        kind, *constraints = get_args(annotation)
        return kind, tuple(constraints)
    return annotation, ()


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, None last; of any other type, the type alone."""
    if get_origin(kind) in (Union, UnionType):
        return tuple(sorted(get_args(kind), key=lambda each: each is NoneType))
    return (kind,)


def _fits(value: Any, annotation: Any) -> bool:
    kind, constraints = _bare(annotation)
    if len(_options(kind)) > 1:
        return any(value is None if each is NoneType else _fits(value, each) for each in _options(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return (
            isinstance(value, tuple)
            and len(value) == len(kinds)
            and all(map(_fits, value, kinds))
            and all(constraint.holds(value) for constraint in constraints)
        )
    if kind is float:
        right_type = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    elif kind is int:
        right_type = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    else:
        right_type = isinstance(value, kind)
    return right_type and all(
        compare(value, getattr(constraint, bound))
        for constraint in constraints
        for of, bound, compare, _ in _BOUNDS
        if isinstance(constraint, of)
    )


def _allowed(annotation: Any) -> str:
    """Describe the values that an annotation allows."""
    kind, constraints = _bare(annotation)
    if len(_options(kind)) > 1:
        return " or ".join("none" if each is NoneType else _allowed(each) for each in _options(kind))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        count = f"{len(get_args(kind))} numbers separated by a comma"
        return ", ".join([count, *map(str, constraints)])
    kinds = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}
    limits = [
        f"{word} {getattr(constraint, bound):g}"
        for constraint in constraints
        for of, bound, _, word in _BOUNDS
        if isinstance(constraint, of)
    ]
    return f"{kinds[kind]} {' and '.join(limits)}".strip()


def _parse(text: str, annotation: Any) -> Any:
    kind, _ = _bare(annotation)
    options = _options(kind)
    if NoneType in options and text.lower() == "none":
        return None
    kind, _ = _bare(options[0])
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"it is {_allowed(kind)}")
        return text
    if get_origin(kind) is tuple:
        return _parse_tuple(text.strip("()").split(","), get_args(kind))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("it is true or false")
        return text.lower() == "true"
    if kind is str:
        return text
    try:
        return kind(text)
    except ValueError:
        raise ValueError("it is a whole number" if kind is int else "it is a number") from None


def _parse_tuple(texts: list[str], kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(texts) != len(kinds):
        raise ValueError(f"it is {len(kinds)} values separated by commas")
    return tuple(_parse(text.strip(), kind) for text, kind in zip(texts, kinds, strict=True))


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_as_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _meanings(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield the entries `name : meaning`, or `name, name : meaning`, of the section "Attributes" of a docstring."""
    section = docstring.partition("Attributes\n")[2]
    for names, meaning in re.findall(r"^    (\w[\w, ]*?) : (.*(?:\n {8,}.*)*)", section, flags=re.MULTILINE):
        text = " ".join(meaning.split())
        for name in names.split(", "):
            yield name, text
