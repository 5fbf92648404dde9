"""The server of `defocus page`: whom it answers, what it tells of photographs, and what it writes."""

import io
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

import defocus
from defocus.estimation import find_parameters, map_recipe
from defocus.maps.strokes import Stroke, Strokes
from defocus.methods.registry import find_method
from defocus.photograph import read_photograph
from defocus.provenance import read_provenance

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from defocus.server.guard import MOST_BYTES
from defocus.server.serve import serve
from defocus.server.shoot import Settings, Shoot

METHOD = "zhuo2011"


class Server:
    """A server that is running, asked by bytes on a socket, so that anything can be forged."""

    def __init__(self, shoot, address):
        self.shoot = shoot
        self.base, self.token = address.split("/#")
        self.host = self.base.removeprefix("http://")
        self.port = int(self.host.split(":")[1])

    def send(self, raw):
        """Send bytes and return status, headers and body of what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(raw)
            answer = b""
            while part := connection.recv(2**16):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body

    def ask(self, path, *, method="GET", headers=(), body=None, without=()):
        """Ask as the page does, but for what is said."""
        usual = {"Host": self.host, "X-Defocus-Token": self.token, "Connection": "close"}
        if body is not None:
            usual |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in usual.items() if name not in without]
        lines += [f"{name}: {value}" for name, value in headers]
        raw = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")
        return self.send(raw + (body or b""))

    def post(self, path, value):
        status, _, body = self.ask(path, method="POST", body=json.dumps(value).encode())
        return status, json.loads(body)

    def json(self, path):
        status, _, body = self.ask(path)
        return status, json.loads(body)

    def export(self, index=0, **wanted):
        status, told = self.post(f"/api/photographs/{index}/export", wanted)
        assert status == 200, told
        return told

    def ready(self, index=0):
        """Wait for the map of a photograph and return what is told of it."""
        for _ in range(600):
            status, told = self.json(f"/api/photographs/{index}")
            if status != 202:
                return status, told
            time.sleep(0.1)
        raise AssertionError("The map is not there after a minute.")


@contextmanager
def running(photographs, exports, method=METHOD, **settings):
    """Serve photographs, in a thread of this process."""
    method = find_method(method)
    there, address = threading.Event(), []

    def started(told, opened):
        address.append(told)
        there.set()

    maps = exports.parent / "maps"
    maps.mkdir(exist_ok=True)
    recipe = map_recipe(method, find_parameters(method))
    shoot = Shoot([(path, exports / path.stem) for path in photographs], exports, Settings(recipe, maps, **settings))
    thread = threading.Thread(target=serve, args=(shoot,), kwargs={"open_browser": False, "started": started})
    thread.start()
    try:
        assert there.wait(30)
        yield Server(shoot, address[0])
    finally:
        shoot.closing = True
        thread.join(30)
    assert not thread.is_alive()


def picture():
    """A photograph whose left half is out of focus."""
    pixels = data.astronaut()[:240, :320].copy()
    blurred = Image.fromarray(pixels).resize((40, 30)).resize((320, 240), Image.Resampling.BICUBIC)
    pixels[:, :160] = np.asarray(blurred)[:, :160]
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shoot")


@pytest.fixture(scope="module")
def server(folder):
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(1)</script>"
    Image.fromarray(picture()).save(folder / "a.jpg", quality=95, exif=exif)
    Image.fromarray(picture()[::-1]).save(folder / "<b onload=x>.png")
    (folder / "c.jpg").write_bytes(b"\xff\xd8 this is no JPEG")
    with running([folder / name for name in ("a.jpg", "<b onload=x>.png", "c.jpg")], folder / "out") as started:
        assert started.ready()[0] == 200
        yield started


# ---- who is answered ----


def test_the_page_is_answered_without_a_token_and_holds_no_photograph(server):
    status, headers, body = server.ask("/", without=["X-Defocus-Token"])
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert b"a.jpg" not in body
    assert server.token.encode() not in body


def test_safe_headers_are_on_every_answer(server):
    for path in ("/", "/assets/page.js", "/api/photographs", "/nothing", "/api/photographs/0/map.webp"):
        _, headers, _ = server.ask(path)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control-")]
        assert "server" not in headers
    _, headers, _ = server.ask("/api/photographs", without=["X-Defocus-Token"])
    assert "default-src 'none'" in headers["content-security-policy"]


def test_the_page_has_no_script_or_style_of_its_own(server):
    _, _, body = server.ask("/")
    page = body.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert " on" not in page.replace(" only", "").lower().split("<script")[-1].split(">")[0]
    assert page.count("<script") == page.count('<script type="module" src=')


@pytest.mark.parametrize("token", ["", "x", "é"])
def test_without_the_token_nothing_is_told(server, token):
    status, _, body = server.ask(
        "/api/photographs", without=["X-Defocus-Token"], headers=[("X-Defocus-Token", token)] if token else []
    )
    assert status == 401
    assert "open the address" in json.loads(body)["error"]


def test_a_token_in_the_address_or_a_cookie_or_twice_does_not_count(server):
    wrong = ["X-Defocus-Token"]
    assert server.ask(f"/api/photographs?token={server.token}", without=wrong)[0] == 401
    assert server.ask("/api/photographs", without=wrong, headers=[("Cookie", f"token={server.token}")])[0] == 401
    assert server.ask("/api/photographs", headers=[("X-Defocus-Token", "other")])[0] == 401


def test_only_the_exact_host_is_answered(server):
    port = server.port
    names = ("localhost", "127.0.0.1.", "evil.example", "[::1]", "0177.0.0.1", "127.1", "2130706433")
    for host in ("localhost", "127.0.0.1", f"127.0.0.1:{port + 1}", *(f"{name}:{port}" for name in names)):
        for path in ("/", "/assets/page.js", "/api/photographs"):
            assert server.ask(path, without=["Host"], headers=[("Host", host)])[0] == 421, host


def test_no_host_or_two_are_not_answered(server):
    raw = f"GET /api/photographs HTTP/1.0\r\nX-Defocus-Token: {server.token}\r\n\r\n".encode()
    assert server.send(raw)[0] == 421
    two = [("Host", server.host)]
    assert server.ask("/api/photographs", headers=two)[0] in (400, 421)  # HTTP itself forbids it
    assert server.send(f"GET / HTTP/1.0\r\nHost: {server.host}\r\nHost: evil.example\r\n\r\n".encode())[0] in (400, 421)


def test_an_address_within_the_request_line_does_not_count(server):
    raw = f"GET http://evil.example/api/photographs HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n"
    assert server.send(raw.encode())[0] == 404


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost", "https://{host}", ""])
def test_requests_of_other_origins_are_refused(server, origin):
    headers = [("Origin", origin.format(host=server.host))]
    assert server.ask("/api/photographs", headers=headers)[0] == 403
    body = b'{"rating": 5}'
    assert server.ask("/api/photographs/0/rating", method="POST", headers=headers, body=body)[0] == 403
    assert server.ask("/api/photographs", headers=[("Origin", server.base)])[0] == 200


def test_requests_that_the_browser_says_come_from_elsewhere_are_refused(server):
    for site in ("cross-site", "same-site", "anything"):
        for path in ("/api/photographs", "/assets/page.js", "/api/photographs/0/photograph.jpg"):
            assert server.ask(path, headers=[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "cors")])[0] == 403
        assert server.ask("/", headers=[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors")])[0] == 403
        # As the file that leads the browser here does.
        assert server.ask("/", headers=[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate")])[0] == 200
        navigated = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate")]
        assert server.ask("/api/photographs", headers=navigated)[0] == 403
    for site in ("same-origin", "none"):
        assert server.ask("/api/photographs", headers=[("Sec-Fetch-Site", site)])[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = server.ask("/api/photographs/0", method=method)
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control-")]


def test_post_and_get_have_their_own_addresses(server):
    assert server.ask("/api/photographs", method="POST", body=b"{}")[0] == 405
    assert server.ask("/api/photographs/0/export")[0] in (404, 405)
    status, _, body = server.ask("/api/photographs/0", method="HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(server, kind):
    headers = [("Content-Type", kind), ("Content-Length", "2")]
    status, _, _ = server.ask("/api/photographs/0/rating", method="POST", headers=headers)
    assert status == 415


def test_what_is_sent_is_bounded(server):
    long = [("Content-Type", "application/json"), ("Content-Length", str(MOST_BYTES + 1))]
    assert server.ask("/api/photographs/0/export", method="POST", headers=long)[0] == 413
    # Without a length, in chunks, more is not read than may be.
    chunk = b"%x\r\n" % 2**16 + b" " * 2**16 + b"\r\n"
    head = (
        f"POST /api/photographs/0/export HTTP/1.1\r\nHost: {server.host}\r\nX-Defocus-Token: {server.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ).encode()
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head)
        try:
            while sent < 4 * MOST_BYTES:
                connection.sendall(chunk)
                sent += 2**16
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            assert b" 413 " in connection.recv(100)
    assert server.json("/api/photographs")[0] == 200
    body = b"1f\r\n" + json.dumps({"kind": "nothing"}).ljust(31).encode() + b"\r\n0\r\n\r\n"
    assert server.send(head + body)[0] == 400  # in chunks, but short


def test_there_are_no_web_sockets(server):
    headers = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    status, _, _ = server.ask(
        "/api/photographs", without=["Connection"], headers=[*headers, ("Connection", "Upgrade, close")]
    )
    assert status != 101


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../pyproject.toml", "/assets/..%2f..%2fpictures.py", "/assets/%2e%2e/pictures.py", "/assets/page.html",
        "/assets/", "/pictures.py", "/api/photographs/-1", "/api/photographs/99", "/api/photographs/0/../1",
        "/api/photographs/a.jpg", "/api/photographs/%2fetc%2fpasswd", "/api/photographs/0/a.jpg",
        "/api/photographs/" + "9" * 5000, "/api/", "/api", "//api/photographs", "/api/photographs/0/strokes",
    ],
)  # fmt: skip
def test_there_is_nothing_else(server, path):
    assert server.ask(path.encode().decode("latin-1"))[0] in (404, 405)


# ---- what is told ----


def test_names_are_told_as_text(server):
    _, told = server.json("/api/photographs")
    assert [each["name"] for each in told["photographs"]] == ["a.jpg", "<b onload=x>.png", "c.jpg"]
    _, headers, _ = server.ask("/api/photographs")
    assert headers["content-type"] == "application/json"


def test_a_name_that_is_not_utf_8_costs_nobody_the_page(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.fromarray(picture()).save(path)
    with running([path], tmp_path / "out") as server:
        status, told = server.ready()
        assert (status, told["name"]) == (200, path.name)
        assert server.json("/api/photographs")[1]["photographs"][0]["name"] == path.name
        assert server.export(kind="mask")["name"] == f"{path.stem}.defocus.mask.png"


def test_a_photograph_that_fails_costs_only_itself(server):
    assert server.ready(1)[0] == 200
    status, told = server.ready(2)
    assert status == 422
    assert told["error"].startswith("c.jpg is ")
    _, overview = server.json("/api/photographs")
    assert [each["state"] for each in overview["photographs"]] == ["done", "done", "failed"]
    assert overview["photographs"][0]["in_focus"] < 1
    assert "in focus" in overview["photographs"][0]["words"]


def test_news_are_waited_for(server):
    _, told = server.json("/api/photographs")
    start = time.monotonic()
    threading.Timer(0.5, server.post, ("/api/photographs/1/rating", {"rating": 3})).start()
    _, news = server.json(f"/api/photographs?known={told['version']}")
    assert 0.3 < time.monotonic() - start < 8
    assert news["version"] > told["version"]
    assert news["photographs"][1]["rating"] == 3
    assert server.json(f"/api/photographs?known={told['version']}")[1]["version"] == news["version"]


def test_pictures_have_the_size_that_is_asked_for(server, folder):
    pixels = read_photograph(folder / "a.jpg").pixels

    def shown(path):
        status, headers, body = server.ask(f"/api/photographs/0/{path}")
        assert status == 200, body
        assert headers["content-type"] == f"image/{path.split('.')[1][:4].replace('jpg', 'jpeg').split('?')[0]}"
        return np.asarray(Image.open(io.BytesIO(body)))

    assert shown("photograph.jpg").shape == (240, 320, 3)
    assert shown("photograph.jpg?side=100").shape == (75, 100, 3)
    assert shown("preview.jpg").shape == (240, 320, 3)
    assert shown("sharpened.jpg").shape == (240, 320, 3)
    assert shown("map.webp?side=160").shape[:2] == (120, 160)
    assert shown("depth.webp").shape[:2] == (240, 320)
    crop = shown("crop.jpg?left=100&top=50&right=200&bottom=100&side=500")
    assert crop.shape == (50, 100, 3)
    assert np.abs(crop.astype(int) - pixels[50:100, 100:200]).mean() < 4
    for wrong in ("crop.jpg", "crop.jpg?left=a&top=0&right=1&bottom=1", "photograph.jpg?side=99999999",
                  "crop.jpg?left=900&top=0&right=999&bottom=9", "map.webp?side=0"):  # fmt: skip
        assert server.ask(f"/api/photographs/0/{wrong}")[0] == 400, wrong


def test_ratings_go_into_sidecars_and_never_into_the_photograph(server, folder):
    before = (folder / "a.jpg").read_bytes()
    assert server.post("/api/photographs/0/rating", {"rating": 4}) == (200, {"rating": 4})
    assert (
        'xmp:Rating="4"' in (folder / "a.jpg.xmp").read_text() or "<xmp:Rating>4" in (folder / "a.jpg.xmp").read_text()
    )
    assert server.json("/api/photographs/0")[1]["rating"] == 4
    for wrong in (6, -2, "5", 1.5, True, [1]):
        assert server.post("/api/photographs/0/rating", {"rating": wrong})[0] == 400, wrong
    (folder / "a.jpg.xmp").write_text("no XMP at all")
    status, told = server.post("/api/photographs/0/rating", {"rating": 1})
    assert status == 409
    assert "left as it is" in told["error"]
    assert (folder / "a.jpg.xmp").read_text() == "no XMP at all"
    (folder / "a.jpg.xmp").unlink()
    assert server.post("/api/photographs/0/rating", {"rating": None}) == (200, {"rating": 0})
    (folder / "a.jpg.xmp").unlink()
    assert (folder / "a.jpg").read_bytes() == before


# ---- what is exported ----


def exported(folder, told):
    return folder / "out" / told["name"]


def test_a_mask_is_white_where_it_is_in_focus(server, folder):
    told = server.export(kind="mask", threshold=1.5)
    mask = np.asarray(Image.open(exported(folder, told)))
    assert told["name"] == "a.defocus.mask.png"
    assert set(np.unique(mask)) == {0, 255}
    assert mask[:, 200:].mean() > mask[:, :120].mean() + 100
    grown = np.asarray(Image.open(exported(folder, server.export(kind="mask", threshold=1.5, grow=5, feather=8))))
    assert grown.mean() > mask.mean()
    assert len(np.unique(grown)) > 3
    for naming, name in (("colmap", "a.jpg.png"), ("metashape", "a_mask.png")):
        told = server.export(kind="mask", threshold=1.5, feather=8, convention=naming)
        assert told["name"] == name
        assert set(np.unique(np.asarray(Image.open(exported(folder, told))))) == {0, 255}


def test_exports_say_what_of_them_is_a_guess(server):
    found, photograph = server.shoot.defocus_map(0), server.shoot.photograph(0)
    wanted = defocus.segment(photograph, found, threshold=1.5, grow=5, feather=2).guesses.in_words()
    assert "Guesses make up" in wanted
    for kind in ("mask", "cutout"):
        assert server.export(kind=kind, threshold=1.5, grow=5, feather=2)["note"] == wanted
    layers = server.export(kind="layers", threshold=1.5, amount=3)
    assert layers["note"] == defocus.segment(photograph, found, threshold=1.5).guesses.in_words()
    assert "note" not in server.export(kind="layers", threshold=1.5, amount=3, focus=[250, 100])  # no outline is in it


def test_what_a_page_shows_is_worked_out_once_until_strokes_change_it(server, folder, monkeypatch):
    from defocus.pages import pictures

    made = []
    for name in ("sharpen", "edit_strength"):
        was = getattr(pictures, name)
        monkeypatch.setattr(pictures, name, lambda *given, was=was, name=name: made.append(name) or was(*given))
    strokes = [{"kind": "sharp", "radius": 20, "points": [[40, 100]]}]
    told = server.post("/api/photographs/0/strokes", {"strokes": strokes, "began_from": ""})[1]
    before = [server.ask(f"/api/photographs/0/{name}")[2] for name in ("sharpened.jpg", "map.webp")]
    again = [server.ask(f"/api/photographs/0/{name}")[2] for name in ("sharpened.jpg", "map.webp")]
    assert (before, sorted(made)) == (again, ["edit_strength", "sharpen"])
    strokes[0]["points"] = [[120, 100]]
    told = server.post("/api/photographs/0/strokes", {"strokes": strokes, "began_from": told["version"]})[1]
    assert [server.ask(f"/api/photographs/0/{name}")[2] for name in ("sharpened.jpg", "map.webp")] != before
    assert len(made) == 4
    assert server.post("/api/photographs/0/strokes", {"strokes": [], "began_from": told["version"]})[0] == 200


def test_nothing_is_ever_replaced(server, folder):
    names = [server.export(kind="mask", threshold=1.0)["name"] for _ in range(3)]
    assert len(set(names)) == 3
    (folder / "out" / "a.defocus.npy").write_text("somebody's own")
    assert server.export(kind="map", format="npy")["name"] == "a.defocus.2.npy"
    assert (folder / "out" / "a.defocus.npy").read_text() == "somebody's own"
    assert [path for path in (folder / "out").iterdir() if path.name.startswith(".")] == []


def test_a_cutout_is_the_photograph_where_it_is_in_focus(server, folder):
    cut = np.asarray(Image.open(exported(folder, server.export(kind="cutout", threshold=1.5, feather=2))))
    assert cut.shape == (240, 320, 4)
    assert np.array_equal(cut[..., :3], read_photograph(folder / "a.jpg").pixels)
    assert cut[:, 200:, 3].mean() > cut[:, :120, 3].mean() + 100


def test_refocused_is_what_the_package_makes(server, folder):
    photograph, found = read_photograph(folder / "a.jpg"), server.shoot.defocus_map(0)
    told = server.export(kind="refocused", amount=3, focus=[250, 100], aperture="hexagon")
    made = read_photograph(exported(folder, told))
    wanted = defocus.magnify(photograph, found, amount=3, focus=(250, 100), aperture="hexagon")
    assert np.abs(made.pixels.astype(int) - wanted).mean() < 2
    assert made.exif is not None
    told = server.export(kind="refocused", amount=0.25)
    assert told["name"] == "a.defocus.sharp.jpg"
    wanted = defocus.sharpen(photograph, found, strength=0.75)
    assert np.abs(read_photograph(exported(folder, told)).pixels.astype(int) - wanted).mean() < 2


def test_layers_and_map_and_depth_are_read_by_others(server, folder):
    layers = exported(folder, server.export(kind="layers", amount=3, threshold=1.5))
    with tifffile.TiffFile(layers) as tiff:
        assert 37724 in tiff.pages.first.tags
    loaded = defocus.load(exported(folder, server.export(kind="map", format="tiff")))
    assert np.array_equal(loaded.sigma, server.shoot.defocus_map(0).sigma)
    portrait = exported(folder, server.export(kind="depth"))
    assert b"GDepth:Data" in portrait.read_bytes()
    with Image.open(portrait) as image:
        assert image.size == (320, 240)


def test_exports_say_what_they_were_made_from(server, folder):
    told = read_provenance(exported(folder, server.export(kind="cutout", threshold=1.5)))
    assert told.kind == "cutout"
    assert told.map["method"] == METHOD
    assert told.photograph_sha256 == read_photograph(folder / "a.jpg").sha256


@pytest.mark.parametrize(
    "wanted",
    [
        {}, {"kind": "../../etc/passwd"}, {"kind": ["mask"]}, {"kind": "mask", "threshold": -1},
        {"kind": "mask", "threshold": "1"}, {"kind": "mask", "threshold": True}, {"kind": "mask", "grow": 1e9},
        {"kind": "mask", "convention": "../x"}, {"kind": "mask", "name": "evil.png"}, {"kind": "map", "format": "exe"},
        {"kind": "refocused", "amount": 1}, {"kind": "layers", "amount": 1},
        {"kind": "refocused", "amount": 3, "focus": [1.5, 2]},
        {"kind": "refocused", "amount": 3, "focus": [10**6, 2]}, {"kind": "refocused", "amount": 3, "aperture": "x"},
        {"kind": "refocused", "amount": 3, "focus": {"x": 1}}, {"kind": "cutout", "feather": 1e308},
    ],
)  # fmt: skip
def test_exports_of_anything_else_are_refused_in_a_sentence(server, folder, wanted):
    before = sorted((folder / "out").glob("**/*")) if (folder / "out").exists() else []
    status, told = server.post("/api/photographs/0/export", wanted)
    assert status == 400
    assert told["error"].endswith(".")
    assert (sorted((folder / "out").glob("**/*")) if (folder / "out").exists() else []) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b'{"kind": NaN}', b"[" * 50_000])
def test_what_is_no_object_of_json_is_refused(server, body):
    assert server.ask("/api/photographs/0/export", method="POST", body=body)[0] == 400


# ---- strokes ----


def test_strokes_change_the_map_and_what_is_exported_and_can_be_taken_back(server, folder):
    before = np.asarray(Image.open(exported(folder, server.export(kind="mask", threshold=1.5))))
    _, _, first = server.ask("/api/photographs/0/map.webp")
    line = [[40, y] for y in range(20, 220, 20)]
    strokes = [{"kind": "sharp", "radius": 20, "points": line}]
    status, told = server.post("/api/photographs/0/strokes", {"strokes": strokes})
    assert status == 200, told
    _, info = server.json("/api/photographs/0")
    assert info["strokes"][0]["kind"] == "sharp"
    assert server.ask("/api/photographs/0/map.webp")[2] != first
    after = np.asarray(Image.open(exported(folder, server.export(kind="mask", threshold=1.5))))
    assert after[20:220, 30:50].mean() > before[20:220, 30:50].mean() + 100
    # Under its usual name it would be painted on again by the next command.
    assert server.export(kind="map")["name"].startswith("a.defocus.painted")
    assert (folder / "a.defocus.strokes.json").is_file()
    assert told["version"] == info["strokes_version"]
    assert server.post("/api/photographs/0/strokes", {"strokes": [], "began_from": told["version"]})[0] == 200
    assert not (folder / "a.defocus.strokes.json").exists()
    assert server.ask("/api/photographs/0/map.webp")[2] == first
    for wrong in (None, {}, [{}], [{"kind": "sharp"}], [{"kind": "x", "radius": 1, "points": [[0, 0]]}], [1]):
        assert server.post("/api/photographs/0/strokes", {"strokes": wrong})[0] == 400, wrong


def test_strokes_that_somebody_else_has_painted_meanwhile_are_not_replaced(server, folder):
    def stroke(x):
        return {"kind": "sharp", "radius": 20, "points": [[x, 100]]}

    path = folder / "a.defocus.strokes.json"
    status, told = server.post("/api/photographs/0/strokes", {"strokes": [stroke(40)], "began_from": ""})
    assert status == 200
    begun = told["version"]
    assert server.json("/api/photographs")[1]["photographs"][0]["strokes_version"] == begun  # other pages learn of it
    before = path.read_bytes()
    for began_from in ("", "0" * 64):
        late = {"strokes": [stroke(80)], "began_from": began_from}
        status, told = server.post("/api/photographs/0/strokes", late)
        assert (status, "painted on meanwhile" in told["error"]) == (409, True)
        assert path.read_bytes() == before
    assert server.post("/api/photographs/0/strokes", {"strokes": [], "began_from": 1})[0] == 400
    # Another program paints: the page's own state is not what is there any more, and what it shows follows.
    _, _, shown = server.ask("/api/photographs/0/map.webp")
    Strokes((Stroke("blurred", ((250.0, 100.0),), 30.0),), (320, 240)).save(path)
    assert server.post("/api/photographs/0/strokes", {"strokes": [], "began_from": begun})[0] == 409
    assert server.ask("/api/photographs/0/map.webp")[2] != shown
    _, info = server.json("/api/photographs/0")
    assert info["strokes"][0]["kind"] == "blurred"
    assert server.post("/api/photographs/0/strokes", {"strokes": [], "began_from": info["strokes_version"]})[0] == 200
    assert not path.exists()


def test_of_two_that_keep_strokes_at_once_one_is_told_so(server, folder):
    answers = []

    def paint(x):
        strokes = [{"kind": "sharp", "radius": 20, "points": [[x, 100]]}]
        answers.append(server.post("/api/photographs/0/strokes", {"strokes": strokes, "began_from": ""}))

    threads = [threading.Thread(target=paint, args=(x,)) for x in (40, 80, 120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200, 409, 409]
    (folder / "a.defocus.strokes.json").unlink()


def test_nothing_is_written_beside_a_photograph_that_was_moved_away(server, folder):
    before = sorted(path.name for path in folder.iterdir())
    stroke = {"kind": "sharp", "radius": 20, "points": [[40, 100]]}
    server.ask("/api/photographs/0/map.webp")
    away = (folder / "a.jpg").rename(folder / "elsewhere.jpg")
    answers = [
        server.post("/api/photographs/0/rating", {"rating": 2, "was": 0}),
        server.post("/api/photographs/0/strokes", {"strokes": [stroke], "began_from": ""}),
    ]
    away.rename(folder / "a.jpg")
    for status, told in answers:
        assert (status, told["error"].startswith("a.jpg has been moved or removed")) == (422, True)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_rating_that_somebody_else_has_given_meanwhile_is_not_replaced(server, folder):
    sidecar = folder / "a.jpg.xmp"
    assert server.post("/api/photographs/0/rating", {"rating": 2, "was": 0})[0] == 200
    sidecar.write_text(sidecar.read_text().replace('Rating="2"', 'Rating="4"'))  # as another program does
    status, told = server.post("/api/photographs/0/rating", {"rating": 1, "was": 2})
    assert (status, "rated 4 of 5 stars meanwhile" in told["error"]) == (409, True)
    assert 'Rating="4"' in sidecar.read_text()
    assert server.json("/api/photographs")[1]["photographs"][0]["rating"] == 4  # the page shows it
    assert server.post("/api/photographs/0/rating", {"rating": 1, "was": 4})[0] == 200
    assert server.post("/api/photographs/0/rating", {"rating": 1, "was": 3})[0] == 200  # it is so already
    for wrong in (6, "4", True):
        assert server.post("/api/photographs/0/rating", {"rating": 1, "was": wrong})[0] == 400, wrong
    sidecar.unlink()


def test_a_file_of_strokes_that_is_not_understood_stays(server, folder):
    (folder / "a.defocus.strokes.json").write_text("somebody's own")
    strokes = [{"kind": "sharp", "radius": 20, "points": [[10, 10]]}]
    assert server.post("/api/photographs/0/strokes", {"strokes": strokes})[0] == 422
    assert (folder / "a.defocus.strokes.json").read_text() == "somebody's own"
    (folder / "a.defocus.strokes.json").unlink()


def test_strokes_in_px_leave_a_score_as_it_is(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture()[:, 100:200]).save(path)
    Strokes((Stroke("sharp", ((10.0, 12.0),), 4.0),), (100, 240)).save(tmp_path / "a.defocus.strokes.json")
    with running([path], tmp_path / "out", method="shi2014") as server:
        status, told = server.ready()
        assert (status, told["unit"], told["strokes"]) == (200, "score", [])
        assert server.export(kind="map")["name"] == "a.defocus.tiff"  # not "painted"
        status, refused = server.post("/api/photographs/0/strokes", {"strokes": []})
        assert (status, "is a score" in refused["error"]) == (400, True)
    assert (tmp_path / "a.defocus.strokes.json").exists()


# ---- maps ----


def test_a_map_that_lies_beside_the_photograph_is_used_and_others_are_kept_only_when_wanted(tmp_path, run):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    Image.fromarray(picture()[:, ::-1]).save(tmp_path / "b.png")
    assert run("estimate", tmp_path / "a.png", "--method", METHOD)[0] == 0
    photographs = [tmp_path / "a.png", tmp_path / "b.png"]
    with running(photographs, tmp_path / "out", keep_maps=True) as server:
        for index in (0, 1):
            status, told = server.ready(index)
            assert status == 200, told
        assert server.shoot._shown[0].map_file == tmp_path / "a.defocus.tiff"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.defocus.tiff"]
    assert list((tmp_path / "maps").iterdir()) == []
    (tmp_path / "out" / "b.defocus.tiff").unlink()
    with running(photographs, tmp_path / "out") as server:
        assert server.ready(1)[0] == 200
    assert list((tmp_path / "out").iterdir()) == []


def test_a_photograph_that_changed_meanwhile_is_not_exported_with_the_old_map(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with running([tmp_path / "a.png"], tmp_path / "out") as server:
        server.ready()
        server.shoot.photograph.forget(0)
        Image.fromarray(picture()[::-1]).save(tmp_path / "a.png")
        status, told = server.post("/api/photographs/0/export", {"kind": "cutout", "threshold": 1})
        assert status == 422
        assert "has changed" in told["error"]


def test_few_photographs_are_kept_in_memory():
    from defocus.server.shoot import _Kept

    made = []
    kept = _Kept(2, lambda number: made.append(number) or Path(str(number)))
    for number in (1, 2, 1, 3, 1, 2):
        assert kept(number) == Path(str(number))
    assert made == [1, 2, 3, 2]


def test_what_several_ask_for_at_once_is_made_once():
    from defocus.server.shoot import _Kept

    made = []

    def make(number):
        time.sleep(0.1)
        made.append(number)
        return number

    kept = _Kept(2, make)
    threads = [threading.Thread(target=kept, args=(7,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [7]


def test_sixteen_bits_and_profile_survive_an_export(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = picture().astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", pixels, photometric="rgb", iccprofile=profile)
    with running([tmp_path / "deep.tif"], tmp_path / "out") as server:
        server.ready()
        cut = imagecodecs.png_decode(
            (tmp_path / "out" / server.export(kind="cutout", threshold=1.5)["name"]).read_bytes()
        )
        assert cut.dtype == np.uint16
        assert np.array_equal(cut[..., :3], pixels)
        made = tmp_path / "out" / server.export(kind="refocused", amount=2)["name"]
        with tifffile.TiffFile(made) as tiff:
            assert tiff.pages.first.dtype == np.uint16
            assert tiff.pages.first.tags.valueof(34675) == profile
