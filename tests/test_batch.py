"""Runs over object storage: nothing lost, nothing double, whatever is killed, refused or changed meanwhile."""

import errno
import io
import itertools
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

import defocus
import three_hosts
from defocus.batch.storage import ChangedError, MissingKeyError, StorageError, Store, checked_url
from object_store import SECRET, Listing, Server, environment, make_bucket
from systems import needs_proc, needs_signals

pytest.importorskip("obstore")
pytest.importorskip("pyarrow")
pytest.importorskip("moto")

TESTS = Path(__file__).parent
POISON = """
import os, fake_method
_estimate = fake_method.estimate
def poisoned(photograph, parameters, weights, progress):
    if tuple(photograph.pixels[0, 0]) == (255, 0, 255):
        os.kill(os.getpid(), 9)
    return _estimate(photograph, parameters, weights, progress)
fake_method.estimate = poisoned
"""
KEPT_OFTEN = """
import os
if "ROWS_ARE_KEPT_EVERY" in os.environ:
    import defocus.batch.part
    defocus.batch.part._KEPT_EVERY = float(os.environ["ROWS_ARE_KEPT_EVERY"])
"""
NUMBERS = itertools.count()
FAKE = ["--method", "fake", "--sample", "0"]


@pytest.fixture(scope="module")
def server():
    made = Server()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def buckets(server, monkeypatch, tmp_path, fake_method):
    """Two empty buckets, of photographs and of the run, and an environment in which every process knows "fake"."""
    name = f"test-{next(NUMBERS)}"
    site = tmp_path / "site"
    site.mkdir()
    text = (TESTS / "in_every_process" / "sitecustomize.py").read_text()
    (site / "sitecustomize.py").write_text(text + POISON + KEPT_OFTEN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(TESTS), *sys.path]))
    for variable, value in environment(server.url).items():
        monkeypatch.setenv(variable, value)
    for kind in ("in", "out"):
        make_bucket(server.url, f"{name}-{kind}")
    yield f"s3://{name}-in/archive/2024", f"s3://{name}-out/runs/one"
    server.fault, server.ignores_conditions = lambda method, path: None, False


def picture(number, colour=None, **options):
    pixels = np.full((64, 80, 3), 40 + 2 * number, np.uint8)
    pixels[::2] += 5
    if colour is not None:
        pixels[:] = colour
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def fill(place, count, **others):
    store = Store(place)
    names = [f"shoot {number % 3}/{number:03d}.png" for number in range(count)]
    for number, name in enumerate(names):
        store.write(name, picture(number))
    for name, contents in others.items():
        store.write(name, contents)
    return [*names, *others]


def planned(buckets, **options):
    return defocus.batch.plan(*buckets, **{"method": "fake", "sample": 0, "part_size": 8, **options})


def worker(place, *options):
    command = [sys.executable, "-m", "defocus", "batch", "work", place, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished(process, code=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (out, err)
    return out, err


def maps_in(place):
    return [entry.key for entry in Store(place).list("maps") if entry.key.endswith(".tiff")]


def wait_for_maps(place, count, process=None, seconds=60):
    until = time.monotonic() + seconds
    while len(maps_in(place)) < count:
        assert time.monotonic() < until, "the maps do not come"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def children_of(pid):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def gone(pids, seconds=10.0):
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def whole(run, keys, errors=0):
    """See that the table has every photograph once, and that every row without an error has its map."""
    rows = run.table().to_pylist()
    assert run.todo() == []
    assert sorted(row["key"] for row in rows) == sorted(keys)
    failed = {row["key"]: row["error"] for row in rows if row["error"] is not None}
    assert len(failed) == errors, failed
    if {"map", "small"} & set(run.plan.outputs):
        assert len(maps_in(run.url)) == len(rows) - errors
    return failed


def test_a_run_from_plan_to_ranking(buckets, server, run):
    source, place = buckets
    exif = Image.Exif()
    exif[Base.Make] = "Maker"
    exif.get_ifd(IFD.Exif)[Base.LensModel] = "50 mm f/1.4"
    exif.get_ifd(IFD.Exif)[Base.FNumber] = 1.4
    keys = fill(source, 5, **{"with lens.png": picture(9, exif=exif)})
    Store(source).write("notes.txt", b"no photograph")
    Store(source).write("old.defocus.png", b"an output")
    code, out, _ = run("batch", "plan", source, place, "--part-size", 4, "--outputs", "small,preview", *FAKE)
    assert (code, out.splitlines()[0].split(",")[0]) == (0, "6 photographs")
    assert run("batch", "status", place)[1].startswith("0 of 6 photographs done (0 of 2 parts), 0 failed.")
    code, out, err = run("batch", "work", place, "--jobs", 2, "--json")
    assert code == 0, err
    done = [json.loads(line) for line in out.splitlines()]
    assert sorted((each["part"], each["photographs"], each["computed"]) for each in done) == [(0, 4, 4), (1, 2, 2)]
    status = json.loads(run("batch", "status", place, "--json")[1])
    assert (status["done"], status["parts_done"], status["failed"], status["seconds_left"]) == (6, 2, 0, 0)
    made = defocus.batch.Run.open(place)
    whole(made, keys)
    table = {row["key"]: row for row in made.table().to_pylist()}
    lens = table["with lens.png"]
    assert (lens["lens"], lens["camera_make"], round(lens["f_number"], 3)) == ("50 mm f/1.4", "Maker", 1.4)
    first = defocus.estimate(picture(0), method="fake")
    assert table[keys[0]]["sigma_p50"] == pytest.approx(float(np.median(first.sigma)), rel=1e-5)
    assert table[keys[0]]["fraction_confident"] == pytest.approx(0.75)
    assert (table[keys[0]]["width"], table[keys[0]]["bytes"]) == (80, len(picture(0)))

    assert run("batch", "collect", place)[0] == run("batch", "collect", place)[0] == 0
    manifest = json.loads(Store(place).read("table/manifest.json")[0])
    assert (manifest["rows"], len(manifest["files"])) == (6, 1)
    whole(made, keys)
    code, out, _ = run("rank", place, "--top", 3, "--json")
    best = [json.loads(line) for line in out.splitlines()]
    order = sorted(table.values(), key=lambda row: (-round(100 * row["in_focus"]), row["sharpest_sigma"], row["key"]))
    assert (code, [each["key"] for each in best]) == (0, [row["key"] for row in order[:3]])
    code, _, err = run("rank", place, "--at", 2048)
    assert code == 2 and "--at" in err


def test_a_small_map_can_be_loaded_and_holds_its_row(buckets, tmp_path):
    fill(buckets[0], 1)
    run = planned(buckets, outputs=["small", "preview"])
    run.work(0)
    (key,) = maps_in(run.url)
    (tmp_path / "map.tiff").write_bytes(Store(run.url).read(key)[0])
    loaded = defocus.load(tmp_path / "map.tiff")
    original = defocus.estimate(picture(0), method="fake")
    assert loaded.sigma.shape == original.sigma.shape
    assert np.abs(loaded.sigma - original.sigma).mean() < 0.05
    assert loaded.metadata["row"] == {**run.table().to_pylist()[0], **loaded.metadata["row"]}
    preview = Store(run.url).read(key.replace(".tiff", ".png"))[0]
    assert Image.open(io.BytesIO(preview)).size[0] >= 80


def test_a_folder_is_a_store_too(tmp_path, run, fake_method, buckets):
    photos, place = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    keys = fill(checked_url(str(photos)), 3)
    assert run("batch", "plan", photos, f"file://{place}", *FAKE)[0] == 0
    assert "3 are not done yet" in run("rank", place)[2]
    assert run("batch", "work", place)[0] == 0
    whole(defocus.batch.Run.open(str(place)), keys)
    assert run("rank", place)[2] == ""
    assert [json.loads(line)["rank"] for line in run("rank", place, "--json")[1].splitlines()] == [1, 2, 3]


def test_named_photographs_are_planned_without_listing(buckets, tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    keys = fill(buckets[0], 6)
    chosen = [keys[4], keys[1], "missing.png", "a//b.png"]
    parquet.write_table(pyarrow.table({"key": chosen}), tmp_path / "keys.parquet")
    run = planned(buckets, keys=tmp_path / "keys.parquet")
    run.work(0)
    failed = whole(run, chosen, errors=2)
    assert "not there" in failed["missing.png"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"key": ["a.png"], "bytes": ["many"]}, "column bytes of .* no whole number"),
        ({"key": ["a.png"], "bytes": [1.5]}, "column bytes of .* no whole number"),
        ({"key": ["a.png"], "etag": [5]}, "column etag of .* no text"),
        ({"key": [None]}, "column key of .* no text"),
        ({"name": ["a.png"]}, "no column key"),
        (None, "keys.parquet is no Parquet file"),
    ],
)
def test_a_list_of_photographs_that_makes_no_sense_is_refused_in_a_sentence(buckets, tmp_path, columns, said):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    file = tmp_path / "keys.parquet"
    if columns is None:
        file.write_text("no Parquet file at all")
    else:
        parquet.write_table(pa.table(columns), file)
    with pytest.raises(defocus.ParameterError, match=said):
        planned(buckets, keys=str(file))


def test_a_list_may_be_one_that_pandas_wrote(buckets, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    keys = fill(buckets[0], 2)
    size = len(Store(buckets[0]).read(keys[0])[0])
    file = tmp_path / "keys.parquet"
    parquet.write_table(pa.table({"key": keys, "bytes": [float(size), float("nan")]}), file)
    said = []
    made = planned(buckets, keys=str(file), said=said.append)
    made.work(0)
    assert made.table(["error"]).column("error").null_count == 2
    parquet.write_table(pa.table({"key": keys}), file)
    planned((buckets[0], f"{buckets[1]}/2"), keys=str(file), said=said.append)
    assert said[0].startswith("2 photographs, 0.") and said[-1] == "2 photographs, in 1 part."


def test_a_photograph_in_an_archive_is_a_row_and_holds_up_no_other(buckets, server):
    import obstore

    names = fill(buckets[0], 2)
    archived = obstore.store.from_url(
        buckets[0], client_options={"allow_http": True, "default_headers": {"x-amz-storage-class": "GLACIER"}}
    )
    obstore.put(archived, "old.png", picture(7))
    made = planned(buckets)
    assert made.work(0).errors == 1
    rows = {each["key"]: each["error"] for each in made.table().to_pylist()}
    assert "archived" in rows.pop("old.png") and rows == dict.fromkeys(names)


def test_an_object_that_alone_is_denied_is_a_row_and_denied_credentials_are_none(buckets, server, monkeypatch):
    from defocus.batch import part

    monkeypatch.setattr(part, "_FIRST_PAUSE", 0.01)
    names = fill(buckets[0], 3)
    made = planned(buckets)
    # Of credentials that do not hold (any more) no photograph tells: all are to be done with others.
    server.fault = lambda method, path: 403 if path.startswith(f"/{buckets[0].removeprefix('s3://')}/") else None
    with pytest.raises(StorageError, match="credentials"):
        made.work(0)
    assert made.todo() == [0]
    server.fault = lambda method, path: 403 if path.endswith(f"/{names[0]}") else None
    assert made.work(0).errors == 1
    rows = {each["key"]: each["error"] for each in made.table().to_pylist()}
    assert "do not allow it" in rows.pop(names[0]) and rows == dict.fromkeys(names[1:])


@pytest.mark.parametrize("outputs", [["rows"], ["small"], ["preview"]])
def test_a_name_that_a_store_cannot_have_is_a_row_and_holds_up_no_other(tmp_path, fake_method, buckets, outputs):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    places = (str(tmp_path / "photos"), str(tmp_path / "run"))
    (tmp_path / "photos").mkdir()
    long = "l" * 249 + ".png"  # a map of it would have too long a name
    for name in ("a.png", long):
        (tmp_path / "photos" / name).write_bytes(picture(1))
    names = ["a.png", long, "x" * 300 + ".png", "", "../a.png"]
    file = tmp_path / "keys.parquet"
    parquet.write_table(pa.table({"key": names}), file)
    made = planned(places, keys=str(file), outputs=outputs)
    expected = 3 if outputs == ["rows"] else 4
    assert made.work(0).errors == expected
    errors = [each["error"] for each in made.table().to_pylist()]
    assert errors[0] is None and all("storage cannot have this name" in each for each in errors[-3:])


def test_a_disk_that_is_taken_away_costs_no_photograph_its_row(tmp_path, fake_method, buckets, monkeypatch):
    from defocus.batch import part

    monkeypatch.setattr(part, "_FIRST_PAUSE", 0.0)
    disk, away = tmp_path / "disk", tmp_path / "away"
    names = fill_folder(disk, 3)
    made = planned((str(disk), str(tmp_path / "run")))
    disk.rename(away)
    disk.mkdir()  # as a place to attach a disk to is left
    with pytest.raises(StorageError, match="taken away, attach it again"):
        made.work(0)
    disk.rmdir()
    away.rename(disk)
    (disk / names[0]).unlink()
    assert made.work(0).errors == 1
    rows = {each["key"]: each["error"] for each in made.table().to_pylist()}
    assert "is not there" in rows.pop(names[0]) and rows == dict.fromkeys(names[1:])


def fill_folder(folder, count):
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(picture(number))
    return [f"{number}.png" for number in range(count)]


def test_a_folder_with_a_name_that_storage_cannot_have_is_refused_by_that_name(tmp_path, fake_method, buckets):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(picture(1))
    try:
        (tmp_path / "photos" / "two\nlines.txt").write_text("")
    except OSError:
        pytest.skip("this system has no such names")
    with pytest.raises(StorageError, match=r"it holds two\nlines.txt, a name .* Rename it"):
        planned((str(tmp_path / "photos"), str(tmp_path / "run")))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user who may not read everything")
def test_a_file_that_may_not_be_read_is_a_row(tmp_path, fake_method, buckets):
    (tmp_path / "photos").mkdir()
    for name, mode in (("a.png", 0o600), ("b.png", 0)):
        (tmp_path / "photos" / name).write_bytes(picture(1))
        (tmp_path / "photos" / name).chmod(mode)
    made = planned((str(tmp_path / "photos"), str(tmp_path / "run")))
    assert made.work(0).errors == 1
    assert "permissions do not allow" in made.table().to_pylist()[1]["error"]


def test_jobs_without_a_part_take_no_cores_from_the_others(buckets, monkeypatch, run):
    from defocus.batch import work

    fill(buckets[0], 3)
    planned(buckets)
    asked = []
    monkeypatch.setattr(work, "available_cores", lambda: 8)
    done = work.work_part
    monkeypatch.setattr(work, "work_part", lambda *given: asked.append(given[2]) or done(*given))
    code, _, err = run("batch", "work", buckets[1], "--jobs", "4")
    assert (code, err, asked) == (0, "", [8])


def test_a_forecast_says_nothing_of_single_photographs(buckets, recwarn):
    fill(buckets[0], 1, **{"flat.png": picture(0, (128, 128, 128))})
    planned(buckets, method="pyramid", sample=2)
    assert not [each for each in recwarn if issubclass(each.category, UserWarning)]


def test_without_credentials_the_sentence_says_so(buckets, monkeypatch):
    store = Store(buckets[0])

    class Client:
        def __init__(self, client):
            self.exceptions = client.exceptions

        def head(self, store, key):
            raise self.exceptions.GenericError("Error performing PUT http://169.254.169.254/latest/api/token")

    monkeypatch.setattr(store, "_client", Client(store._client))
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
        store.has("a.png")


def test_a_run_can_be_pickled_and_a_part_done_twice(buckets, server):
    keys = fill(buckets[0], 3)
    run = pickle.loads(pickle.dumps(planned(buckets)))
    assert run.work(0).committed
    again = run.work(0)
    assert (again.committed, again.photographs) == (False, 0)
    whole(run, keys)
    assert server.fetched(buckets[0].removeprefix("s3://")).total() == 3


def test_what_is_wrong_with_a_photograph_is_a_row(buckets):
    keys = fill(buckets[0], 4, **{"cut.png": picture(3)[:60], "tiny.png": b"", "changed.png": picture(5)})
    run = planned(buckets, outputs=["map"])
    Store(buckets[0]).write("changed.png", picture(6))
    Store(buckets[0]).delete(keys[0])
    result = run.work(0)
    failed = whole(run, keys, errors=4)
    assert result.errors == 4
    assert "changed" in failed["changed.png"]
    assert "not there" in failed[keys[0]]
    assert set(failed) == {"cut.png", "tiny.png", "changed.png", keys[0]}


def test_a_photograph_that_ends_its_process_costs_one_row(buckets, server):
    keys = fill(buckets[0], 6, **{"poison.png": picture(0, (255, 0, 255))})
    run = planned(buckets)
    result = run.work(0)
    failed = whole(run, keys, errors=1)
    assert "the system ended its process" in failed["poison.png"]
    assert (result.photographs, result.computed) == (7, 6)
    fetched = server.fetched(buckets[0].removeprefix("s3://"))
    assert fetched == Counter({**dict.fromkeys(keys, 1), "poison.png": 2})


@pytest.mark.slow
@needs_signals
@needs_proc
@pytest.mark.parametrize("who", ["process", "driver"])
def test_nothing_is_lost_or_double_after_a_kill(buckets, server, who):
    source, place = buckets
    keys = fill(source, 20)
    run = planned(buckets, outputs=["small"], settings=["pause=0.1"])
    process = worker(place, "--jobs", "2")
    wait_for_maps(place, 4, process)
    children = children_of(process.pid)
    assert children
    if who == "process":
        os.kill(children[0], signal.SIGKILL)
        finished(process)
    else:
        process.kill()
        process.wait()  # not for the ends of its pipes, which its children hold too
        assert gone(children)
        finished(process, -9)
        finished(worker(place, "--jobs", "2"))
    whole(run, keys)
    fetched = server.fetched(source.removeprefix("s3://"))
    assert set(fetched) == set(keys)
    assert fetched.total() <= len(keys) + (1 if who == "process" else 2)  # those in flight at the kill


@pytest.mark.slow
@needs_signals
@needs_proc
def test_a_reclaimed_machine_stops_at_once_and_another_goes_on(buckets, server):
    source, place = buckets
    keys = fill(source, 16)
    run = planned(buckets, outputs=["small"], settings=["pause=0.2"])
    process = worker(place, "--jobs", "2")
    wait_for_maps(place, 3, process)
    children = children_of(process.pid)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = finished(process, 143)
    assert time.monotonic() - begin < 5
    assert "Traceback" not in err
    assert gone(children)
    finished(worker(place))
    whole(run, keys)
    assert server.fetched(source.removeprefix("s3://")).total() <= len(keys) + 2


def wait_for_photographs(server, source, count, process):
    until = time.monotonic() + 60
    while server.fetched(source.removeprefix("s3://")).total() < count:
        assert time.monotonic() < until, "the photographs are not read"
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def unfinished_in(place):
    return [entry.key for entry in Store(place).list("partial")]


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_rows_of_an_unfinished_part_are_kept_when_a_worker_is_told_to_stop(buckets, server, number, code):
    source, place = buckets
    keys = fill(source, 24)
    run = planned(buckets, part_size=12, settings=["pause=0.1"])
    process = worker(place, "--jobs", "2")
    wait_for_photographs(server, source, 10, process)
    process.send_signal(number)
    _, err = finished(process, code)
    assert ("Give the command again" in err) == (number == signal.SIGINT)  # who sends SIGTERM does not read
    assert run.todo() == [0, 1] and len(unfinished_in(place)) == 2
    out, _ = finished(worker(place, "--json"))
    whole(run, keys)
    fetched = server.fetched(source.removeprefix("s3://"))
    assert set(fetched) == set(keys) and fetched.total() <= len(keys) + 2  # those in flight
    assert sum(json.loads(line)["computed"] for line in out.splitlines()) <= len(keys) - 8
    assert unfinished_in(place) == []


@pytest.mark.slow
@needs_signals
@needs_proc
def test_a_killed_worker_costs_what_it_did_since_rows_were_kept_last(buckets, server, monkeypatch):
    source, place = buckets
    monkeypatch.setenv("ROWS_ARE_KEPT_EVERY", "0.3")
    keys = fill(source, 24)
    run = planned(buckets, part_size=24, settings=["pause=0.1"])
    process = worker(place)
    wait_for_photographs(server, source, 12, process)
    assert len(unfinished_in(place)) == 1
    children = children_of(process.pid)
    process.kill()
    process.wait()
    assert gone(children)
    finished(process, -9)
    finished(worker(place))
    whole(run, keys)
    # One in flight, and those that took a pause of 0.1 s at the least each since rows were kept.
    assert server.fetched(source.removeprefix("s3://")).total() <= len(keys) + 1 + 4
    assert unfinished_in(place) == []


def test_rows_that_were_kept_of_other_photographs_are_not_taken(buckets):
    from defocus.batch.rows import encode, row
    from defocus.batch.run import begun_key, unfinished_prefix

    keys = fill(buckets[0], 3)
    run = planned(buckets)
    store = Store(buckets[1])
    etags = {entry.key: entry.etag for entry in Store(buckets[0]).list()}
    kept = [row({"key": keys[0], "etag": etags[keys[0]], "width": 7}), row({"key": keys[1], "etag": "of before"})]
    store.write(begun_key(0), b"{}")
    store.write(f"{unfinished_prefix(run.plan, 0)}of-another.parquet", encode(kept))
    store.write(
        "partial/of-another-plan/part-000000/x.parquet", encode([row({"key": keys[2], "etag": etags[keys[2]]})])
    )
    assert run.work(0).computed == 2
    assert [each["width"] for each in run.table().sort_by("key").to_pylist()] == [7, 80, 80]


def test_a_part_that_was_begun_longest_ago_is_taken_over_first(buckets):
    from defocus.batch.run import begun_key
    from defocus.batch.work import not_begun_first

    fill(buckets[0], 4)
    run = planned(buckets, part_size=1)
    for part in (2, 0):
        Store(buckets[1]).write(begun_key(part), b"{}")
        time.sleep(1.1)  # the store tells whole seconds
    assert list(not_begun_first(run, run.todo(), [])) == [1, 3, 2, 0]


def measured_and_not(contents):
    m = defocus.estimate(contents, method="fake")
    return m.sigma[m.confidence >= 0.5], m.sigma[m.confidence < 0.5]


def test_where_nothing_is_measured_percentiles_say_so(buckets, run):
    fill(buckets[0], 0, **{"grey.png": encoded_grey()})
    made = defocus.batch.plan(*buckets, method="zhuo2011", sample=0)
    made.work(0)
    found = made.percentiles(50)[None]
    assert (found.photographs, found.fraction_measured) == (1, 0) and np.isnan(found.sigma[0])
    assert made.percentiles(50, guesses=True)[None].sigma[0] > 0
    assert json.loads(run("batch", "percentiles", buckets[1], "--at", "50", "--json")[1])["sigma"] == {"50": None}
    assert run("batch", "percentiles", buckets[1], "--at", "50")[1].splitlines()[1].split() == ["-", "0%", "1"]


def encoded_grey():
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(file, "PNG")
    return file.getvalue()


def test_a_part_that_another_has_taken_over_meanwhile_comes_last(buckets, monkeypatch):
    from datetime import UTC, datetime, timedelta

    from defocus.batch.storage import Entry
    from defocus.batch.work import not_begun_first

    fill(buckets[0], 6)
    made = planned(buckets, part_size=2)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    at = {f"begun/part-{part:06d}.json": begun + timedelta(minutes=part) for part in range(3)}
    monkeypatch.setattr(Store, "find", lambda self, key: Entry(key, 0, None, at[key]))
    parts = not_begun_first(made, made.todo(), [])
    taken = [next(parts)]
    at["begun/part-000001.json"] += timedelta(hours=1)  # by another worker, while this one is at the first
    assert [*taken, *parts] == [0, 2, 1]


def test_a_bucket_that_does_not_exist_is_told_in_a_sentence(buckets, run):
    for places in (("s3://nobody-has-this", buckets[1]), (buckets[0], "s3://nobody-has-this/run")):
        code, _, err = run("batch", "plan", *places, *FAKE)
        assert code == 1 and err.endswith("there is no such bucket.\n") and "<" not in err


def test_percentiles_of_sets_come_from_the_rows_alone(buckets, run):
    from defocus.batch.counts import EDGES

    lenses = {}
    for number in range(6):
        exif = Image.Exif()
        exif[Base.Make] = "Maker"
        exif.get_ifd(IFD.Exif)[Base.LensModel] = f"{35 + 15 * (number % 2)} mm"
        lenses[f"{number}.png"] = picture(number, (40 * number, 30, 20), exif=exif)
    fill(buckets[0], 0, **lenses, **{"cut.png": b"", "without.png": picture(90)})
    made = planned(buckets, part_size=3)
    for part in made.todo():
        made.work(part)
    of_lens = {}
    for name, contents in lenses.items():
        lens = f"{35 + 15 * (int(name[0]) % 2)} mm"
        of_lens.setdefault(lens, []).append(measured_and_not(contents))
    of_lens[None] = [measured_and_not(picture(90))]
    everything = [each for several in of_lens.values() for each in several]
    percents = (5, 40, 50, 95)

    def close(found, photographs, *, guesses=False):
        sigma = np.concatenate([part for measured, rest in photographs for part in (measured, rest)[: 1 + guesses]])
        bins = np.digitize(found, EDGES), np.digitize(np.percentile(sigma, percents), EDGES)
        return np.abs(np.subtract(*bins)).max() <= 1 and found == pytest.approx(
            np.percentile(sigma, percents), rel=0.091
        )

    for _ in range(2):  # of the parts, and of what was collected
        whole_run = made.percentiles(*percents)
        assert whole_run[None].photographs == 7 and close(whole_run[None].sigma, everything)
        assert whole_run[None].fraction_measured == 0.75  # as the method has it
        assert close(made.percentiles(*percents, guesses=True)[None].sigma, everything, guesses=True)
        by = made.percentiles(*percents, by="lens")
        assert {lens: found.photographs for lens, found in by.items()} == {"35 mm": 3, "50 mm": 3, None: 1}
        assert all(close(found.sigma, of_lens[lens]) for lens, found in by.items())
        assert run("batch", "collect", buckets[1])[0] == 0
    code, out, _ = run("batch", "percentiles", buckets[1], "--by", "lens", "--at", "50", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, {line["value"]: line["photographs"] for line in lines}) == (0, {"35 mm": 3, "50 mm": 3, None: 1})
    assert lines[0]["sigma"] == {"50": round(by[lines[0]["value"]].sigma[2], 4)}
    header, line = run("batch", "percentiles", buckets[1])[1].splitlines()
    assert header.split()[-2:] == ["measured", "photographs"] and line.split()[-2:] == ["75%", "7"]
    for wrong in (("--by", "guess_counts"), ("--by", "colour"), ("--at", "half"), ("--at", "101")):
        assert run("batch", "percentiles", buckets[1], *wrong)[0] == 2


def test_a_collected_file_is_read_group_by_group(buckets, server, monkeypatch):
    monkeypatch.setattr("defocus.batch.collect._GROUP_ROWS", 4)
    monkeypatch.setattr("defocus.batch.collect._PIECE_BYTES", 3000)
    from defocus.batch.collect import best, tables

    keys = fill(buckets[0], 20)
    made = planned(buckets, part_size=2)
    for part in made.todo():
        made.work(part)
    before = best(made, 5)
    (collected,) = made.collect()
    server.asked.clear()
    assert [len(table) for table in tables(made)] == [4] * 5
    whole(made, keys)
    assert best(made, 5) == before
    assert [each["key"] for each in best(made, 5, ["key"])] == [each["key"] for each in before]
    asked = [ranged for method, path, ranged in server.asked if method == "GET" and path.endswith(collected)]
    assert len(asked) > 5 and all(asked)
    Store(buckets[1]).delete(collected)
    with pytest.raises(defocus.ParameterError, match="is missing"):
        made.table()


def test_a_map_and_its_preview_are_those_of_the_local_command(buckets, run, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (150, 203, 3), np.uint8)
    pixels[:, 100:] = 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Store(buckets[0]).write("a.png", (tmp_path / "a.png").read_bytes())
    assert run("estimate", tmp_path / "a.png", "--parameters", "fast", "--device", "cpu")[0] == 0
    made = planned(buckets, method="pyramid", parameters="fast", device="cpu", outputs=["map", "preview"])
    made.work(0)
    (key,) = maps_in(buckets[1])
    (tmp_path / "of_run.tiff").write_bytes(Store(buckets[1]).read(key)[0])
    ours, theirs = defocus.load(tmp_path / "of_run.tiff"), defocus.load(tmp_path / "a.defocus.tiff")
    for plane in ("sigma", "confidence", "saturated"):
        assert np.array_equal(getattr(ours, plane), getattr(theirs, plane))
    with Image.open(tmp_path / "a.defocus.png") as command:
        preview = Image.open(io.BytesIO(Store(buckets[1]).read(key.replace(".tiff", ".png"))[0]))
        assert np.array_equal(np.asarray(preview), np.asarray(command))


def test_a_full_disk_of_a_worker_is_no_fault_of_the_photograph(buckets, monkeypatch):
    from defocus.batch import photograph

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fill(buckets[0], 1)
    run = planned(buckets, outputs=["small"])
    (entry,) = Store(buckets[0]).list()
    monkeypatch.setattr(photograph, "TemporaryFile", full)
    with pytest.raises(StorageError, match="No space left"):
        photograph.process(run, Store(buckets[0]), Store(buckets[1]), entry)
    assert maps_in(buckets[1]) == []


def test_weights_of_ones_own_travel_with_the_run(buckets, run, tmp_path, monkeypatch):
    weights = tmp_path / "mine.npz"
    weights.write_bytes(b"trained")
    keys = fill(buckets[0], 3)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    options = ("--weights", weights, "--outputs", "small", "--part-size", 2)
    assert run("batch", "plan", *buckets, *options, *FAKE)[0] == 0
    weights.unlink()  # no worker reads it
    made = defocus.batch.Run.open(buckets[1])
    assert str(tmp_path) not in made.plan.to_json()
    made.work(0)
    (tmp_path / "map.tiff").write_bytes(Store(made.url).read(maps_in(made.url)[0])[0])
    used = defocus.load(tmp_path / "map.tiff").metadata
    assert used["weights_sha256"] == made.plan.recipe["weights_sha256"] is not None
    assert list(folder.iterdir()) == []
    Store(made.url).write(made.plan.weights, b"of somebody else")
    with pytest.raises(defocus.ParameterError, match="not what was planned"):
        made.work(1)
    assert made.todo() == [1]
    Store(made.url).write(made.plan.weights, b"trained")
    made.work(1)
    whole(made, keys)


def test_weights_that_cannot_be_used_are_refused_by_the_plan(buckets, run, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"damaged")
    fill(buckets[0], 1)
    code, _, err = run("batch", "plan", *buckets, "--method", "pyramid", "--weights", tmp_path / "mine.onnx")
    assert code == 2 and "mine.onnx" in " ".join(err.split())
    assert list(Store(buckets[1]).list()) == []


@needs_signals
@needs_proc
def test_no_process_goes_on_with_a_photograph_when_its_driver_is_gone(buckets, tmp_path, monkeypatch):
    started = tmp_path / "started"
    monkeypatch.setenv("FAKE_METHOD_STARTED", str(started))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    (tmp_path / "mine.npz").write_bytes(b"trained")
    fill(buckets[0], 1)
    planned(buckets, settings=["pause=10"], weights=tmp_path / "mine.npz")
    process = worker(buckets[1])
    started.unlink()
    until = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    children = children_of(process.pid)
    assert children
    assert len(list(folder.iterdir())) == 1  # the weights
    process.kill()
    process.wait()
    assert gone(children)
    finished(process, -9)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@needs_signals
def test_two_drivers_share_a_run(buckets):
    keys = fill(buckets[0], 24)
    run = planned(buckets, part_size=3, settings=["pause=0.02"])
    both = [worker(buckets[1]), worker(buckets[1], "--shard", "1/2", "--take-over")]
    said = "".join(finished(each)[0] for each in both)
    whole(run, keys)
    # Every part has been committed once: what another had done before, or did first, is said so.
    committed = [line for line in said.splitlines() if "photographs" in line and "was first" not in line]
    assert len(committed) == run.plan.parts


def test_of_two_workers_at_one_part_one_commits(buckets):
    keys = fill(buckets[0], 3)
    run = planned(buckets, settings=["pause=0.3"])
    results = []
    threads = [threading.Thread(target=lambda: results.append(run.work(0))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((each.photographs, each.computed, each.committed) for each in results) == [
        (3, 3, False),
        (3, 3, True),
    ]
    whole(run, keys)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said):
        pass


def test_photographs_of_a_web_server(buckets, tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    photos = tmp_path / "photos"
    photos.mkdir()
    keys = fill(str(photos), 3)
    parquet.write_table(pyarrow.table({"key": keys}), tmp_path / "keys.parquet")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=photos)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{web.server_port}"
        run = planned((address, tmp_path / "run"), keys=tmp_path / "keys.parquet", outputs=["small"])
        run.work(0)
        web.shutdown()
    whole(run, keys)


def test_shards_cover_a_run(buckets, run):
    keys = fill(buckets[0], 6)
    made = planned(buckets, part_size=1)
    assert run("batch", "work", buckets[1], "--shard", "0/2")[0] == 0
    assert made.todo() == [1, 3, 5]
    assert run("batch", "work", buckets[1], "--shard", "1/2")[0] == 0
    whole(made, keys)
    for wrong in (("--shard", "2/2"), ("--take-over",), ("--on", "cloud=x"), ("--on", "dask=x", "--jobs", 2)):
        assert run("batch", "work", buckets[1], *wrong)[0] == 2


def test_of_two_planners_one_wins(buckets):
    keys = fill(buckets[0], 10)
    start = threading.Barrier(2)
    won, refused = [], []

    def attempt():
        start.wait()
        try:
            won.append(planned(buckets, part_size=2))
        except defocus.ParameterError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 1)
    left = [entry.key for entry in Store(buckets[1]).list()]
    assert sorted(left) == sorted(["plan/current.json", *(won[0].plan.part_key(part) for part in range(5))])
    assert defocus.batch.Run.open(buckets[1]) == won[0]
    for part in won[0].todo():
        won[0].work(part)
    whole(won[0], keys)


def test_a_store_that_ignores_conditions_is_refused(buckets, server):
    fill(buckets[0], 1)
    server.ignores_conditions = True
    with pytest.raises(StorageError, match="overwrites"):
        planned(buckets)
    assert list(Store(buckets[1]).list()) == []


@pytest.mark.parametrize("status", [409, 503])
def test_a_busy_store_is_asked_again(buckets, server, status):
    keys = fill(buckets[0], 3)
    run = planned(buckets, outputs=["small"])
    left = {"/rows/": 3, "/maps/": 2}

    def fault(method, path):
        for kind in left:
            if method == "PUT" and kind in path and left[kind] and (status == 503 or kind == "/rows/"):
                left[kind] -= 1
                return status
        return None

    server.fault = fault
    assert run.work(0).committed
    assert left["/rows/"] == 0
    whole(run, keys)


def test_a_part_waits_for_a_store_that_fails(buckets, server, monkeypatch):
    monkeypatch.setattr("defocus.batch.part._FIRST_PAUSE", 0.01)
    keys = fill(buckets[0], 4)
    run = planned(buckets)
    failures = [403, 403]

    def fault(method, path):
        return failures.pop() if failures and method == "GET" and path.endswith(".png") else None

    server.fault = fault
    assert run.work(0).committed
    whole(run, keys)
    assert failures == []
    server.fault = lambda method, path: 403
    with pytest.raises(StorageError, match="credentials"):
        run.work(0)


def test_damaged_rows_of_an_unfinished_part_cost_only_their_work(buckets):
    from defocus.batch.run import begun_key, unfinished_prefix

    fill(buckets[0], 3)
    made = planned(buckets)
    store = Store(buckets[1])
    store.write(begun_key(0), b"{}")
    store.write(f"{unfinished_prefix(made.plan, 0)}of-another.parquet", b"damaged")
    done = made.work(0)
    assert (done.computed, done.errors, done.committed) == (3, 0, True)
    assert not list(store.list("partial"))


def test_a_damaged_table_is_named(buckets, run):
    fill(buckets[0], 2)
    made = planned(buckets)
    made.work(0)
    Store(buckets[1]).write("rows/part-000000.parquet", b"damaged")
    for command in (["batch", "status"], ["batch", "percentiles"], ["batch", "collect"], ["rank"]):
        code, _, err = run(*command, buckets[1])
        assert code == 2 and "rows/part-000000.parquet in" in err and "damaged" in err, command


def test_no_photograph_is_an_error_and_leaves_no_plan(buckets, run):
    Store(buckets[0]).write("notes.txt", b"-")
    code, _, err = run("batch", "plan", *buckets, *FAKE)
    assert code == 2 and "no photograph" in " ".join(err.split())
    assert list(Store(buckets[1]).list()) == []
    assert run("batch", "work", buckets[1])[0] == 2


def test_rows_of_a_run_whose_plan_was_removed_are_never_mixed_with_others(buckets):
    fill(buckets[0], 2)
    planned(buckets).work(0)
    Store(buckets[1]).delete("plan/current.json")
    with pytest.raises(defocus.ParameterError, match="rows of an earlier run"):
        planned(buckets)


def test_the_forecast_is_measured(buckets):
    fill(buckets[0], 4)
    run = planned(buckets, sample=2, outputs=["small"])
    assert (run.plan.forecast["sample"], run.plan.photographs) == (2, 4)
    run.work(0)
    written = sum(entry.size for entry in Store(run.url).list("maps"))
    assert 0.8 * written < run.plan.forecast["bytes_of_output"] < 2.5 * written


def test_other_versions_and_weights_are_refused(buckets):
    import dataclasses

    fill(buckets[0], 1)
    run = planned(buckets)
    older = dataclasses.replace(run, plan=dataclasses.replace(run.plan, version="0.0.1"))
    with pytest.raises(defocus.ParameterError, match=r"planned by defocus 0\.0\.1"):
        older.work(0)
    recipe = {**run.plan.recipe, "weights_sha256": "another"}
    trained = dataclasses.replace(run, plan=dataclasses.replace(run.plan, recipe=recipe))
    with pytest.raises(defocus.ParameterError, match="not those that were planned"):
        trained.work(0)
    assert run.todo() == [0]


def test_credentials_are_in_no_file_and_no_message(buckets, run):
    fill(buckets[0], 2)
    said = run("batch", "plan", *buckets, "--outputs", "map,preview", *FAKE)[1:]
    said += run("batch", "work", buckets[1])[1:]
    said += run("batch", "work", "s3://no-such-bucket/x")[1:]
    store = Store(buckets[1])
    contents = b"".join(store.read(entry.key)[0] for entry in store.list())
    assert SECRET not in "".join(said) and SECRET.encode() not in contents
    for secret in ("https://me:secret@example.org/x", "https://secret@example.org/x", "az://c/x?sig=secret"):
        code, _, err = run("batch", "plan", secret, buckets[1], *FAKE)
        assert code == 2 and "secret@" not in err and "sig=" not in err


def test_missing_packages_are_said_in_one_sentence(run, monkeypatch, tmp_path):
    for package in ("obstore", "pyarrow"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            (tmp_path / "a.png").write_bytes(picture(0))
            code, _, err = run("batch", "plan", tmp_path, tmp_path / f"run-{package}", "--method", "zhuo2011")
            assert code == 2 and "defocus[batch]" in err


def test_the_store_tells_what_happened(buckets):
    store = Store(buckets[1])
    assert store.create("a/b c.txt", b"1") and not store.create("a/b c.txt", b"2")
    contents, entry = store.read("a/b c.txt")
    assert contents == b"1" and store.read("a/b c.txt", etag=entry.etag)[0] == b"1"
    store.write("a/b c.txt", b"3")
    with pytest.raises(ChangedError):
        store.read("a/b c.txt", etag=entry.etag)
    store.delete("a/b c.txt")
    store.delete("a/b c.txt")
    with pytest.raises(MissingKeyError):
        store.read("a/b c.txt")
    store.write("large", bytes(range(256)) * 400)
    with store.open("large") as file:
        file.seek(-3, io.SEEK_END)
        assert file.read() == b"\xfd\xfe\xff"
        file.seek(40_000)
        assert file.read(2) == bytes([40_000 % 256, 40_001 % 256])
    assert store.open("nothing") is None


PLANNING = """
import resource, sys
import defocus.batch
run = defocus.batch.plan("s3://many", sys.argv[1], method="zhuo2011", sample=0)
print(run.plan.photographs, run.plan.parts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@needs_proc  # where the unit of the figure is known
def test_planning_needs_no_more_memory_for_more_photographs(tmp_path, monkeypatch):
    peaks = []
    for keys in (1_000, 100_000):
        listing = Listing(keys)
        listing.start()
        for variable, value in environment(listing.url).items():
            monkeypatch.setenv(variable, value)
        command = [sys.executable, "-c", PLANNING, tmp_path / str(keys)]
        out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        listing.stop()
        photographs, parts, peak = map(int, out.split())
        assert (photographs, parts) == (keys, -(-keys // 256))
        peaks.append(peak / 1024)
    assert peaks[1] < peaks[0] + 40, peaks  # MB; the keys and ETags of 100,000 alone are 8 MB as text


def dask_process(*arguments):
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture
def dask_cluster(buckets, tmp_path):
    """A scheduler and two workers with one thread each, as processes."""
    pytest.importorskip("distributed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    started = [dask_process(*scheduler)]

    def add():
        options = ("--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(tmp_path))
        started.append(dask_process("distributed.cli.dask_worker", address, *options))
        return started[-1]

    workers = [add(), add()]
    yield address, workers
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@needs_signals
@needs_proc
def test_dask_works_on_while_a_node_is_lost(buckets, server, dask_cluster):
    from distributed import Client

    address, workers = dask_cluster
    keys = fill(buckets[0], 30)
    run = planned(buckets, part_size=3, outputs=["small"], settings=["pause=0.1"])
    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    process = worker(buckets[1], "--on", f"dask={address}")
    wait_for_maps(buckets[1], 6, process)
    os.killpg(workers[0].pid, signal.SIGKILL)
    out, _ = finished(process)
    whole(run, keys)
    assert sum(line.startswith("part ") for line in out.splitlines()) == run.plan.parts
    fetched = server.fetched(buckets[0].removeprefix("s3://"))
    assert set(fetched) == set(keys) and fetched.total() <= len(keys) + 1


@pytest.mark.slow
@needs_signals
@needs_proc
def test_dask_goes_on_after_its_driver_was_killed(buckets, server, dask_cluster):
    from distributed import Client

    address, _ = dask_cluster
    keys = fill(buckets[0], 24)
    run = planned(buckets, part_size=3, outputs=["small"], settings=["pause=0.1"])
    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    process = worker(buckets[1], "--on", f"dask={address}")
    wait_for_maps(buckets[1], 4, process)
    process.kill()
    finished(process, -9)
    finished(worker(buckets[1], "--on", f"dask={address}"))
    whole(run, keys)
    # What the first driver had handed out may go on beside the second.
    assert server.fetched(buckets[0].removeprefix("s3://")).total() <= len(keys) + 2 * 2 * run.plan.part_size


@pytest.mark.slow
@needs_signals
@needs_proc
def test_a_host_that_is_cut_off_does_not_hold_up_a_run(buckets):
    pytest.importorskip("distributed")
    if not three_hosts.allowed():
        pytest.skip("network namespaces may not be made here; the other tests use processes of one host")
    program = [sys.executable, three_hosts.__file__]
    done = json.loads(subprocess.run(program, stdout=subprocess.PIPE, timeout=290, check=True).stdout)
    assert (done["code"], done["left"], done["errors"]) == (0, [], 0)
    assert done["every_key_once"] and done["maps"] == three_hosts.KEYS
    assert done["fetched"] <= three_hosts.KEYS + 1  # the one in flight at the cut
