"""Runs over photographs in object storage, on many machines: planned once, done by any engine, collected as a table.

This package owns the protocol by which nothing is lost, doubled or repeated; engines only hand out numbers of parts.

- `plan` lists the photographs, writes them down in parts, and then creates ``plan/current.json``, which only one
  planner can do.
- `Run.work` does one part: every photograph is read if it is still what was listed, its pictures are written, and its
  map last, with the photograph's row inside. The part ends by creating ``rows/part-N.parquet``, which only one worker
  can do.
- `Run.collect` makes large files of the parts, and then creates ``table/manifest.json``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
