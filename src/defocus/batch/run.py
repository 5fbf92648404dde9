"""A run: where it lies, what was planned, and what can be done with it from any process of any machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from defocus.batch.storage import MissingKeyError, Store, checked_url
from defocus.errors import ParameterError
from defocus.version import __version__

if TYPE_CHECKING:
    import pyarrow

    from defocus.batch.collect import Percentiles
    from defocus.batch.status import Status

__all__ = ["OUTPUTS", "PartResult", "Plan", "Run"]

_CURRENT = "plan/current.json"
_FORMAT, _FORMAT_VERSION = "defocus run", 1
_PART = re.compile(r"/part-(\d{6,})\.(?:parquet|json)$")
OUTPUTS = ("rows", "small", "map", "preview")
"""What a run can write; rows are always written."""


@dataclass(frozen=True)
class Plan:
    """What a run is about, as ``plan/current.json`` keeps it. There are no credentials in it.

    Attributes
    ----------
    uuid : of this plan; its parts lie in ``plan/UUID``.
    source : address of the photographs.
    photographs, size : how many there are, and their bytes; of those whose size is known.
    parts, part_size : number of parts, and of photographs in each but the last.
    outputs : of `OUTPUTS`.
    method, parameters, settings : of the estimate: the method's name, a preset, and changes ``name=value`` to it.
    device : what networks are run on.
    max_megapixels : larger photographs are refused; None for the usual limit.
    strict : whether incomplete files are refused.
    recipe : all that a map depends on beside the photograph, with the digest of the weights.
    weights : key of the copy of the weights that were given; None for those of the package.
    version : of the package that planned, and that has to do the work.
    forecast : what the run will take by the sample that was measured; empty without one.
    """

    uuid: str
    source: str
    photographs: int
    size: int
    parts: int
    part_size: int
    outputs: tuple[str, ...]
    method: str
    parameters: str
    settings: tuple[str, ...]
    device: str
    max_megapixels: float | None
    strict: bool
    recipe: Mapping[str, Any]
    weights: str | None = None
    version: str = __version__
    forecast: Mapping[str, float] = field(default_factory=dict)

    def part_key(self, part: int) -> str:
        """Return the key of the list of a part's photographs."""
        return f"plan/{self.uuid}/part-{part:06d}.parquet"

    def to_json(self) -> str:
        """Return the plan as JSON."""
        return json.dumps({"format": _FORMAT, "format_version": _FORMAT_VERSION, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Plan:
        """Return the plan that `to_json` wrote.

        Raises
        ------
        ParameterError
            If it is no plan, or one of a newer version.
        """
        try:
            stored = json.loads(text)
            known, version = stored.pop("format"), stored.pop("format_version")
            if known != _FORMAT:
                raise ValueError(known)
            if version > _FORMAT_VERSION:
                raise ParameterError(f"The run {where} was planned by a newer version: update defocus.")
            stored |= {name: tuple(stored[name]) for name in ("outputs", "settings")}
            return cls(**stored)
        except ParameterError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ParameterError(
                f"{_CURRENT} in {where} is no plan of this package: give the folder of a run."
            ) from error


@dataclass(frozen=True)
class PartResult:
    """What became of one part.

    Attributes
    ----------
    part : its number.
    photographs : how many it has; 0 where another worker had committed it before.
    computed : how many maps were estimated for it now; the others were found in the store.
    errors : how many photographs have a row with an error.
    committed : whether this worker's rows are those of the run; False where another was first.
    seconds : time taken.
    """

    part: int
    photographs: int
    computed: int
    errors: int
    committed: bool
    seconds: float


@dataclass(frozen=True)
class Run:
    """A run. It is small, can be pickled, and holds no connection: send it, or its methods, wherever work is done.

    Attributes
    ----------
    url : where it lies.
    plan : what was planned.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> import defocus
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     photos = Path(folder) / "photos"
    ...     photos.mkdir()
    ...     noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    ...     Image.fromarray(noise).save(photos / "noise.png")
    ...     run = defocus.batch.plan(photos, f"{folder}/run", method="zhuo2011")
    ...     results = [run.work(part) for part in run.todo()]
    ...     run.table().column("key").to_pylist(), run.todo()
    (['noise.png'], [])
    """

    url: str
    plan: Plan

    @classmethod
    def open(cls, url: str) -> Run:
        """Return the run that lies at an address.

        Raises
        ------
        ParameterError
            If there is none, or it was planned by a newer version.
        StorageError
            If the store fails.
        """
        where = checked_url(url)
        try:
            text, _ = Store(where).read(_CURRENT)
        except MissingKeyError as error:
            raise ParameterError(f"There is no run in {where}: plan one with `defocus batch plan`.") from error
        return cls(where, Plan.from_json(text, where))

    def create(self) -> bool:
        """Make this the run of its address; False if another planner was first."""
        store = Store(self.url)
        if store.create(_CURRENT, self.plan.to_json().encode()):
            return True
        # The request may have been sent twice because the first answer was lost.
        return Run.open(self.url).plan.uuid == self.plan.uuid

    def check(self) -> None:
        """See that this installation would make the very maps that were planned.

        Raises
        ------
        ParameterError
            If its version, its weights or the method's parameters are others.
        """
        from defocus.batch.photograph import recipe_of

        if self.plan.version != __version__:
            raise ParameterError(
                f"The run was planned by defocus {self.plan.version}, but this is {__version__}: install that version."
            )
        recipe = recipe_of(self.plan)
        if self.plan.weights is not None:  # whose copy is compared by whoever reads it
            recipe["weights_sha256"] = self.plan.recipe["weights_sha256"]
        if recipe != self.plan.recipe:
            raise ParameterError(
                f"The weights or parameters of {self.plan.method} are not those that were planned: install the package "
                "that the run was planned with."
            )

    def todo(self) -> list[int]:
        """Return the numbers of the parts that nobody has finished, lowest first."""
        done = {part_of(entry.key) for entry in Store(self.url).list("rows")}
        return [part for part in range(self.plan.parts) if part not in done]

    def work(self, part: int, cores: int = 1) -> PartResult:
        """Do one part, in a process beside this one; may be called again, anywhere, and at the same time.

        Parameters
        ----------
        part : its number, of `todo`.
        cores : number of cores that it may use.

        Raises
        ------
        ParameterError
            If this installation would make other maps than those planned.
        StorageError
            If the store failed again and again; what is done stays done.
        """
        from defocus.batch.part import work_part

        return work_part(self, part, cores)

    def status(self) -> Status:
        """Return how far the run is."""
        from defocus.batch.status import status_of

        return status_of(self)

    def collect(self) -> list[str]:
        """Make few large Parquet files of the rows of a finished run, once; return their keys.

        Raises
        ------
        ParameterError
            If parts are not done.
        """
        from defocus.batch.collect import collect

        return collect(self)

    def percentiles(self, *percents: float, by: str | None = None, guesses: bool = False) -> dict[Any, Percentiles]:
        """Return percentiles of sigma over the pixels of the photographs that are done, or of sets of them.

        The counts of the rows are added (`defocus.batch.counts`): no map is read, and nothing needs to be collected.
        A percentile is right to a bin, 9 %.

        Parameters
        ----------
        percents : 0 to 100.
        by : column whose values make the sets, such as "lens"; None for one set of all photographs, called None.
        guesses : whether pixels count whose sigma is a guess (confidence below 0.5), and not only those measured.

        Returns
        -------
        dict
            For each value of the column, the number of its photographs, the fraction of their pixels that was measured,
            and their percentiles in px.

        Raises
        ------
        ParameterError
            If there is no such column, a percentile is out of range, or the method's maps are not in px.
        """
        from defocus.batch.collect import percentiles_by

        return percentiles_by(self, percents, by, guesses=guesses)

    def table(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """Return the rows that there are, of a run that may still be at work.

        Parameters
        ----------
        columns : names of those that are wanted; None for all.
        """
        import pyarrow

        from defocus.batch.collect import tables
        from defocus.batch.rows import schema

        found = list(tables(self, columns))
        wanted = schema()
        if columns is not None:
            wanted = pyarrow.schema([wanted.field(name) for name in columns])
        return pyarrow.concat_tables(found) if found else wanted.empty_table()


def rows_key(part: int) -> str:
    """Return the key of a part's rows."""
    return f"rows/part-{part:06d}.parquet"


def begun_key(part: int) -> str:
    """Return the key of the note that a worker has begun a part."""
    return f"begun/part-{part:06d}.json"


def unfinished_prefix(plan: Plan, part: int) -> str:
    """Return what the keys begin with of rows that workers kept of a part that they had not finished.

    All lie in one folder: else a local store would be left with an empty one for each part.
    """
    return f"partial/{plan.uuid}/part-{part:06d}-"


def part_of(key: str) -> int | None:
    """Return the number of the part that a key is about; None for other keys.

    Examples
    --------
    >>> part_of("rows/part-000012.parquet"), part_of("rows/part-000012.parquet.old")
    (12, None)
    """
    named = _PART.search(key)
    return None if named is None else int(named[1])
