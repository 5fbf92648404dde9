"""The process in which a part's photographs are worked on: ``python -m defocus.batch.child``, started by `part`.

It reads what is to be done as one line of JSON, and answers with lines of JSON. It ends when its standard input does,
so that it never outlives whoever started it, however that one ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from defocus.batch.run import Plan, Run
from defocus.batch.storage import Entry, StorageError, Store
from defocus.errors import DefocusError
from defocus.runtime.cores import limited_cores

__all__ = ["main"]


def main() -> None:
    """Do what the line on standard input asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    # Libraries may print: only answers go to the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**said: Any) -> None:
        print(json.dumps(said), file=answers, flush=True)

    line = sys.stdin.readline()
    if not line:
        return
    asked = json.loads(line)
    folder = asked["folder"]
    threading.Thread(target=_leave_with_parent, args=(folder,), daemon=True).start()
    with limited_cores(asked["cores"]):
        # After the limit, which numerical libraries read as they load.
        from defocus.batch.photograph import process, weights_of

        run = Run(asked["url"], Plan.from_json(asked["plan"], asked["url"]))
        try:
            run.check()
            source, store = Store(run.plan.source), Store(run.url)
            weights = None if folder is None else weights_of(run, Path(folder))
            for place, key, size, etag in asked["photographs"]:
                answer(begins=place)
                row, computed = process(run, source, store, Entry(key, size, etag), weights, asked["beside"])
                answer(done=place, row=row, computed=computed)
        except StorageError as error:
            answer(storage=str(error))
        except DefocusError as error:
            answer(refused=str(error))
        except BrokenPipeError:
            return


def _leave_with_parent(folder: str | None) -> None:
    """End this process once the parent has closed its end of standard input, for whatever reason.

    Hardly anything has to be tidied up: objects appear whole or not at all, and temporary files have no names. Only the
    folder of the weights, which the parent removes where it can, has one.
    """
    sys.stdin.read()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
