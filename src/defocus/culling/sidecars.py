"""Ratings of photographs, which travel beside them in XMP sidecars; a photograph's own file is never touched.

There are two habits. `IMG_1.CR2.xmp` (darktable, digiKam) belongs to that file. `IMG_1.xmp` (Lightroom, Bridge,
Capture One) belongs to all files of that name, and so, where a RAW file and a JPEG share it, to the RAW file: these
programs keep what they say of a JPEG within it.

Read and written are xmp:Rating, in which all of these programs keep stars, and darktable, digiKam and Bridge rejections
too (-1); and xmp:Label, the colour label of Lightroom, Bridge and Capture One. darktable and digiKam keep colour labels
in properties of their own, which stay as they are.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from defocus.culling.xmp import LARGEST, XmpError, new_packet, read_properties, set_properties
from defocus.errors import DefocusError, PhotographError
from defocus.photograph.folders import may_be_photograph, reason_not_to_open
from defocus.photograph.raw import RAW_SUFFIXES
from defocus.photograph.reduced import read_metadata
from defocus.runtime.atomic import write_bytes

__all__ = ["REJECTED", "Habit", "Rating", "SidecarError", "read_rating", "sidecars_of", "write_rating"]

REJECTED = -1
"""Rating of a photograph that was rejected, in darktable, digiKam and Bridge."""
Habit = Literal["auto", "full-name", "stem"]
"""How a new sidecar is called: "full-name" x.ext.xmp, "stem" x.xmp."""
_LOWEST, _HIGHEST = REJECTED, 5


class SidecarError(DefocusError):
    """A sidecar cannot be read, is not understood, or cannot be written; it stays as it is.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.jpg.xmp").write_text("notes")
    ...     try:
    ...         read_rating(Path(folder) / "a.jpg")
    ...     except SidecarError as error:
    ...         print(str(error).replace(folder, "shoot"))
    shoot/a.jpg.xmp is not XML (syntax error: line 1, column 0): it is left as it is.
    """


@dataclass(frozen=True)
class Rating:
    """What is said of a photograph.

    Attributes
    ----------
    stars : 1..5, 0 for none, -1 for rejected; None where nothing is said.
    label : colour label, as the program that set it calls it ("Red"); None where there is none.
    file : the sidecar it was read from, or the photograph itself; None where nothing is said.
    by_defocus : whether this package has set it, and nobody has changed it since.
    note : a sentence, where two sidecars differ; else "".
    """

    stars: int | None = None
    label: str | None = None
    file: Path | None = None
    by_defocus: bool = False
    note: str = ""

    @property
    def by_a_person(self) -> bool:
        """Whether a person has rated or rejected the photograph; 0 stars are no rating."""
        return bool(self.stars) and not self.by_defocus


def read_rating(photo: Path) -> Rating:
    """Return the rating of a photograph.

    It is read from its sidecar; of two that state one, from the newer; without a sidecar that states one, from the XMP
    within the photograph.

    Parameters
    ----------
    photo : the photograph's file.

    Raises
    ------
    SidecarError
        If a sidecar cannot be read or is not understood.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     photo = Path(folder) / "beach.CR2"
    ...     _ = photo.write_bytes(b"...")
    ...     before = read_rating(photo).stars
    ...     written = write_rating(photo, 4)
    ...     before, [path.name for path in written], read_rating(photo).stars
    (None, ['beach.xmp'], 4)
    """
    found = [(path, _rating(_properties(path, _contents(path)), path)) for path in sidecars_of(photo)]
    stated = [(path, rating) for path, rating in found if rating.stars is not None or rating.label is not None]
    if stated:
        newest = max(stated, key=lambda each: each[0].stat().st_mtime_ns)
        others = [path for path, rating in stated if (rating.stars, rating.label) != (newest[1].stars, newest[1].label)]
        if not others:
            return newest[1]
        note = f"{others[0]} says another rating; that of {newest[0].name}, which is newer, counts."
        return Rating(newest[1].stars, newest[1].label, newest[0], newest[1].by_defocus, note)
    try:
        packet = read_metadata(photo).xmp
    except PhotographError:  # said where the photograph itself is read
        return Rating()
    if packet is None or len(packet) > LARGEST:
        return Rating()
    try:
        inside = _rating(read_properties(packet), photo)
    except XmpError:  # nothing will be written into the photograph, so it need not be understood
        return Rating()
    return inside if inside.stars is not None or inside.label is not None else Rating()


def write_rating(
    photo: Path, stars: int, *, label: str | None = None, habit: Habit = "auto", by_defocus: bool = False
) -> list[Path]:
    """Write the rating of a photograph into the sidecars that it has, or into a new one.

    All else in a sidecar stays as it is. A new one is called as the folder's other sidecars are; where there are none,
    x.xmp for camera RAW, which all RAW editors read, and x.ext.xmp for other formats, of which only darktable and
    digiKam read sidecars. Where another photograph has the same name without suffix, it is x.ext.xmp.

    Parameters
    ----------
    photo : the photograph's file, which is not opened.
    stars : 1..5, 0 for none, -1 for rejected.
    label : colour label; None leaves it as it is, and "" takes it away.
    habit : how a new sidecar is called.
    by_defocus : whether the rating is this package's own, and not a person's: it then says so.

    Returns
    -------
    list of Path
        The sidecars written.

    Raises
    ------
    SidecarError
        If one of them is not understood or cannot be written. What cannot be understood is found before any is written.
    ValueError
        If `stars` is out of range.
    """
    if stars not in range(_LOWEST, _HIGHEST + 1):
        raise ValueError(f"stars must be in {_LOWEST}..{_HIGHEST}, not {stars}.")
    values = {"xmp:Rating": str(stars)}
    if label is not None:
        values["xmp:Label"] = label
    existing = sidecars_of(photo)
    changed: dict[Path, bytes] = {}
    for path in existing:
        contents = _contents(path)
        stated = _properties(path, contents)
        # What a person says from now on must not be taken for a rating of this package.
        own = {"defocus:Rating": str(stars) if by_defocus else ""} if by_defocus or "defocus:Rating" in stated else {}
        try:
            changed[path] = set_properties(contents, values | own)
        except XmpError as error:
            raise SidecarError(f"{path} {error}") from None
    if not existing:
        own = {"defocus:Rating": str(stars)} if by_defocus else {}
        changed[_new_sidecar(photo, habit)] = new_packet(values | own)
    for path, contents in changed.items():
        # Through a link, its target is written.
        target = Path(os.path.realpath(path))
        if target.exists() and not os.access(target, os.W_OK):
            raise SidecarError(f"{path} cannot be written: the file, or the disk that it is on, is read-only.")
        try:
            mode = target.stat().st_mode if target.exists() else None
            write_bytes(target, contents)
            if mode is not None:
                target.chmod(stat.S_IMODE(mode))
        except OSError as error:
            raise SidecarError(f"{path} cannot be written: {error.strerror or error}.") from error
    return list(changed)


def sidecars_of(photo: Path) -> list[Path]:
    """Return the XMP sidecars that belong to a photograph: x.ext.xmp, then x.xmp.

    Parameters
    ----------
    photo : the photograph's file, which need not exist.
    """
    names = _names_beside(photo)
    beside = [name for name in names if name.casefold() == f"{photo.name}.xmp".casefold()]
    if not _stem_is_anothers(photo, names):
        beside += [name for name in names if name.casefold() == f"{photo.stem}.xmp".casefold()]
    return [photo.with_name(name) for name in beside]


def _names_beside(photo: Path) -> list[str]:
    try:
        return sorted(os.listdir(photo.parent))  # noqa: PTH208 (names alone; half the time of paths)
    except OSError as error:
        raise SidecarError(f"The folder {photo.parent} cannot be read: {error.strerror or error}.") from error


def _sharing(photo: Path, names: list[str]) -> list[str]:
    """Names of other photographs with the same name without suffix."""
    stem = photo.stem.casefold()
    alike = (name for name in names if name != photo.name and name.rpartition(".")[0].casefold() == stem)
    return [name for name in alike if _is_photo(name)]


def _is_photo(name: str) -> bool:
    return may_be_photograph(name) and ".defocus." not in name


def _stem_is_anothers(photo: Path, names: list[str]) -> bool:
    """Whether x.xmp belongs to another photograph: a RAW file of that name, where this one is none."""
    sharing = _sharing(photo, names)
    return photo.suffix.lower() not in RAW_SUFFIXES and any(Path(n).suffix.lower() in RAW_SUFFIXES for n in sharing)


def _new_sidecar(photo: Path, habit: Habit) -> Path:
    names = _names_beside(photo)
    full, stem = photo.with_name(f"{photo.name}.xmp"), photo.with_name(f"{photo.stem}.xmp")
    if habit == "stem" and _stem_is_anothers(photo, names):
        raise SidecarError(f"{stem} would belong to another photograph of that name: choose names like {full.name}.")
    if habit != "auto":
        return full if habit == "full-name" else stem
    if _sharing(photo, names):
        return full
    others = [Path(name).stem for name in names if name.lower().endswith(".xmp") and not name.startswith(".")]
    with_suffix = sum(_is_photo(name) for name in others)
    if 2 * with_suffix != len(others):
        return full if 2 * with_suffix > len(others) else stem
    return stem if photo.suffix.lower() in RAW_SUFFIXES else full


def _contents(path: Path) -> bytes:
    reason = reason_not_to_open(path)
    if reason is not None:
        raise SidecarError(f"{path} cannot be read: {reason}")
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise SidecarError(f"{path} cannot be read: {error.strerror or error}.") from error


def _properties(path: Path, contents: bytes) -> dict[str, str]:
    try:
        return read_properties(contents)
    except XmpError as error:
        raise SidecarError(f"{path} {error}") from None


def _rating(properties: dict[str, str], file: Path) -> Rating:
    stated = properties.get("xmp:Rating")
    stars = None
    if stated:
        try:
            # Some programs write 3.0; Adobe's give fractions as well.
            stars = max(_LOWEST, min(_HIGHEST, round(float(stated))))
        except (ValueError, OverflowError):
            stars = None
    label = properties.get("xmp:Label") or None
    own = stars is not None and properties.get("defocus:Rating") == str(stars)
    return Rating(stars, label, file, own)
