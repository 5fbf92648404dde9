"""What `defocus rank` does with a shoot once it is in order: ratings, moving, copying."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from defocus.applications.rank import By
from defocus.cli.files import STANDARD_STREAM
from defocus.cli.photographs import Outcome
from defocus.cli.terminal import say
from defocus.culling.filing import belongings, copy_photograph, move_photograph
from defocus.culling.sidecars import REJECTED, Habit, read_rating, write_rating
from defocus.culling.stars import counted_in_focus, stars_by_place, stars_by_share
from defocus.errors import DefocusError, ParameterError
from defocus.messages import error_message

if TYPE_CHECKING:
    from defocus.cli.rank import Measured

__all__ = ["Filed", "Plan", "carry_out"]


@dataclass(frozen=True)
class Plan:
    """What the user wants done.

    Attributes
    ----------
    by : what the order goes by.
    stars_by : what stars are given by; None for no rating.
    steps : shares in focus from which on there are 2, 3, 4 and 5 stars.
    habit : how a new sidecar is called.
    overwrite : whether a rating that a person gave is replaced.
    below : share in focus below which photographs are moved; None for not at all.
    move_to, copy_to : folders, absolute or within each photograph's own.
    best : number of photographs that are copied; None for none.
    dry : whether it is only said what would be done.
    """

    by: By
    stars_by: Literal["share", "place"] | None
    steps: tuple[float, ...]
    habit: Habit
    overwrite: bool
    below: float | None
    move_to: Path
    best: int | None
    copy_to: Path
    dry: bool

    def own_folders(self) -> frozenset[str]:
        """Names of the folders that this moves or copies to, which are not searched for more photographs."""
        wanted = (self.below is not None, self.move_to), (self.best is not None, self.copy_to)
        return frozenset(folder.name for used, folder in wanted if used and not folder.is_absolute())


@dataclass
class Filed:
    """What was done.

    Attributes
    ----------
    lines : a sentence for each thing done.
    records : what was done with each photograph, for CSV and JSON.
    columns : names of these figures.
    """

    lines: list[str] = field(default_factory=list)
    records: dict[Path, dict[str, Any]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def record(self, path: Path) -> dict[str, Any]:
        """Return what was done with a photograph; None for what was not."""
        return {name: self.records.get(path, {}).get(name) for name in self.columns}

    def note(self, path: Path, line: str, **figures: Any) -> None:
        """Note what was done."""
        self.lines.append(line)
        self.records.setdefault(path, {}).update(figures)


def carry_out(plan: Plan, ranking: Sequence[Measured], outcome: Outcome) -> Filed:
    """Rate, copy and move photographs; one that fails costs a line in `outcome.failures`, and no other photograph.

    Parameters
    ----------
    plan : what is wanted.
    ranking : all photographs, the best first.
    outcome : of the measuring; after an interrupt nothing is done, as the order is not complete.
    """
    wanted = {"rating": plan.stars_by, "copied_to": plan.best, "moved_to": plan.below}
    filed = Filed(columns=tuple(name for name, used in wanted.items() if used is not None))
    if not filed.columns:
        return filed
    if outcome.interrupted:
        say("Nothing was rated, moved or copied: the order is not complete.", error=True)
        return filed
    stars = _stars(plan, ranking)
    for place, m in enumerate(ranking):
        share = counted_in_focus(m.sharpness, plan.by)
        todo: list[Callable[[], None]] = []
        number = stars[place]
        if number is not None:
            todo.append(partial(_rate, plan, filed, m.path, number))
        if plan.best is not None and place < plan.best:
            todo.append(partial(_copy, plan, filed, m.path))
        if plan.below is not None and share is not None and share < plan.below:
            todo.append(partial(_move, plan, filed, m.path))
        try:
            if todo and m.path == STANDARD_STREAM:
                raise ParameterError("it came from standard input, and has no file that could be rated or moved.")
            for each in todo:
                each()
        except (DefocusError, OSError) as error:
            outcome.failures.append((m.path, error_message(error)))
    return filed


def _stars(plan: Plan, ranking: Sequence[Measured]) -> list[int | None]:
    if plan.stars_by is None:
        return [None] * len(ranking)
    if plan.stars_by == "place":
        return stars_by_place([m.sharpness for m in ranking])
    return [stars_by_share(m.sharpness, plan.steps, plan.by) for m in ranking]


def _rate(plan: Plan, filed: Filed, photo: Path, stars: int) -> None:
    before = read_rating(photo)
    if before.note:
        say(f"Note: {before.note}", error=True)
    if before.by_a_person and not plan.overwrite:
        given = "rejected" if before.stars == REJECTED else f"rated {before.stars}"
        filed.note(photo, f"{photo}: stays {given}, as a person gave it", rating=before.stars)
        return
    if plan.dry:
        filed.note(photo, f"{photo}: would be rated {stars}", rating=stars)
        return
    written = write_rating(photo, stars, habit=plan.habit, by_defocus=True)
    filed.note(photo, f"{photo}: rated {stars} -> {', '.join(map(str, written))}", rating=stars)


def _copy(plan: Plan, filed: Filed, photo: Path) -> None:
    # An absolute folder stays as it is.
    folder = photo.parent / plan.copy_to
    target = str(folder / photo.name)
    if Path(target).is_file() and filecmp.cmp(photo, target, shallow=False):
        filed.note(photo, f"{photo}: is in {folder} already", copied_to=target)
        return
    if plan.dry:
        filed.note(
            photo, f"{photo}: would be copied -> {target}{_with(belongings(photo, outputs=False))}", copied_to=target
        )
        return
    files = copy_photograph(photo, folder)
    filed.note(photo, f"{photo}: copied -> {target}{_with([source for source, _ in files])}", copied_to=target)


def _move(plan: Plan, filed: Filed, photo: Path) -> None:
    folder = photo.parent / plan.move_to
    target = str(folder / photo.name)
    if plan.dry:
        files = belongings(photo, outputs=True)
        filed.note(photo, f"{photo}: would be moved -> {target}{_with(files)}", moved_to=target)
        return
    moved = move_photograph(photo, folder)
    filed.note(photo, f"{photo}: moved -> {target}{_with([source for source, _ in moved])}", moved_to=target)


def _with(files: Sequence[Path]) -> str:
    """What goes with a photograph, which is the first of the files."""
    return "" if len(files) == 1 else f", with {', '.join(path.name for path in files[1:])}"
