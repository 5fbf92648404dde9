"""`name=value`: parameters of a method as texts, from the command line or a benchmark's configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from defocus.errors import ParameterError

Parameters = TypeVar("Parameters")


def apply_settings(parameters: Parameters, settings: Iterable[str]) -> Parameters:
    """Return a frozen dataclass of parameters with some of them replaced.

    Parameters
    ----------
    parameters : a dataclass.
    settings : texts ``name=value``. Values are read by the field's type: numbers; true or false; words; several
        separated by commas for a tuple; none where None is allowed.

    Raises
    ------
    ParameterError
        If a text has no ``=``, no field has that name, or the value does not fit the field.
    """
    types = get_type_hints(type(parameters))
    names = [field.name for field in dataclasses.fields(parameters)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise ParameterError(f"--set takes name=value, not {setting!r}.")
        if name not in names:
            raise ParameterError(f"There is no parameter {name!r}: choose one of {', '.join(names)}.")
        try:
            changes[name] = _parse(text.strip(), types[name])
        except ValueError as error:
            raise ParameterError(f"{name} cannot be {text.strip()!r}: {error}.") from error
    return dataclasses.replace(parameters, **changes)  # type: ignore[type-var]


def _parse(text: str, wanted: Any) -> Any:
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        if NoneType in inner and text.lower() == "none":
            return None
        return _parse(text, next(kind for kind in inner if kind is not NoneType))
    if origin is Literal:
        if text not in inner:
            raise ValueError(f"it is one of {', '.join(map(str, inner))}")
        return text
    if origin is tuple:
        return _parse_tuple(text.strip("()").split(","), inner)
    if wanted is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("it is true or false")
        return text.lower() == "true"
    if wanted is int or wanted is float:
        return _parse_number(text, wanted)
    if wanted is str:
        return text
    raise ValueError("it can be set from Python only")


def _parse_tuple(texts: list[str], inner: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_parse(text.strip(), inner[0]) for text in texts)
    if len(texts) != len(inner):
        raise ValueError(f"it is {len(inner)} values separated by commas")
    return tuple(_parse(text.strip(), kind) for text, kind in zip(texts, inner, strict=True))


def _parse_number(text: str, wanted: type[int] | type[float]) -> int | float:
    try:
        return wanted(text)
    except ValueError:
        raise ValueError("it is a whole number" if wanted is int else "it is a number") from None
