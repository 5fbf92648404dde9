"""`defocus page` as a process: how it starts, whom it lets know its token, and what it leaves when it ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from systems import needs_proc, needs_signals
from waiting import wait_for

pytest.importorskip("uvicorn")

TESTS = Path(__file__).parent
PATH = os.pathsep.join([str(TESTS / "in_every_process"), str(TESTS), *sys.path])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}
FAST = ["--method", "zhuo2011"]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(data.astronaut()).save(path, quality=95)
    return path


@pytest.fixture
def start(tmp_path):
    """Start the command; what is still running is ended after the test."""
    running, errors = [], (tmp_path / "stderr").open("w")

    def started(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "defocus", "page", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**ENVIRONMENT, "TMPDIR": str(tmp_path / "tmp"), **environment},
            start_new_session=True,
            # What a shell ignores, as `nohup` does with SIGHUP, its children ignore too.
            preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)) if os.name == "posix" else None,
        )
        running.append(process)
        return process

    (tmp_path / "tmp").mkdir()
    yield started
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
    errors.close()


def address(process):
    line = process.stdout.readline().strip()
    assert line.startswith("http://127.0.0.1:"), line
    return line.split("/#")


def ask(base, token, path, value=None):
    headers = {"X-Defocus-Token": token} | ({} if value is None else {"Content-Type": "application/json"})
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"{base}/api/{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read()


def nobody_left(process):
    """Whether no process of its session is there any more."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def has_map(base, token):
    return ask(base, token, "photographs/0")[0] == 200


@needs_signals
@pytest.mark.parametrize(("ending", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_it_ends_when_it_is_told_to_and_leaves_nothing(photo, start, tmp_path, ending, code):
    process = start(photo, "--no-browser", *FAST)
    base, token = address(process)
    wait_for(lambda: has_map(base, token), 60)
    assert process.poll() is None
    process.send_signal(signal.Signals[ending])
    assert process.wait(20) == code
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "stderr", "tmp"]


@needs_signals
@needs_proc
def test_ctrl_c_does_not_wait_for_an_estimate(photo, start, tmp_path):
    (tmp_path / "fake").mkdir()
    site = (TESTS / "in_every_process" / "sitecustomize.py").read_text().replace("fake_method", "slow_method")
    (tmp_path / "fake" / "sitecustomize.py").write_text(site)
    (tmp_path / "fake" / "slow_method.py").write_text(
        "import time\nfrom pathlib import Path\nfrom fake_method import PRESETS\n"
        f"def estimate(*_):\n    Path({str(tmp_path / 'began')!r}).touch()\n    time.sleep(600)\n"
    )
    process = start(
        photo, "--no-browser", "--method", "fake", PYTHONPATH=os.pathsep.join([str(tmp_path / "fake"), PATH])
    )
    address(process)
    wait_for((tmp_path / "began").exists, 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    wait_for(lambda: nobody_left(process))


@needs_signals
@pytest.mark.slow
def test_killed_in_the_middle_of_exports_it_leaves_no_half_of_one(photo, start, tmp_path):
    exports = tmp_path / "defocus"

    def exported():
        return [path for path in exports.iterdir() if not path.name.startswith(".")]

    for pause in (0.1, 0.3, 0.6, None):  # and once when one is finished, however slow the machine is
        process = start(photo, "--no-browser", *FAST)
        base, token = address(process)
        wait_for(lambda base=base, token=token: has_map(base, token), 60)
        asking = subprocess.Popen(
            [sys.executable, "-c", "import sys, json\nsys.path.insert(0, sys.argv[1])\n"
             "from test_page_command import ask\n"
             "for kind in 30 * ['cutout', 'layers', 'mask']:\n"
             "    ask(sys.argv[2], sys.argv[3], 'photographs/0/export', {'kind': kind, 'threshold': 1.0})\n",
             str(TESTS), base, token],
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )  # fmt: skip
        wait_for(exports.is_dir, 60)
        if pause is None:
            wait_for(exported, 60)
        else:
            time.sleep(pause)
        process.kill()
        process.wait()
        asking.wait(60)
        wait_for(lambda process=process: nobody_left(process))
        for path in exported():
            with Image.open(path) as image:
                image.load()


def test_the_token_reaches_the_browser_by_a_file_that_nobody_else_can_read(photo, start, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport os, shutil, stat, sys, urllib.parse\n"
        "path = urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[1]).path)\n"
        f"shutil.copy(path, {str(tmp_path / 'lead.html')!r})\n"
        f"told = open({str(tmp_path / 'told')!r}, 'w')\n"
        "told.write(oct(stat.S_IMODE(os.stat(path).st_mode)) + ' ' + sys.argv[1])\n"
    )
    browser.chmod(0o755)
    process = start(photo, *FAST, BROWSER=f"{browser} %s")
    line = process.stdout.readline().strip()
    wait_for(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text(), 60)
    mode, opened = (tmp_path / "told").read_text().split()
    lead = (tmp_path / "lead.html").read_text()
    base, token = lead.split("url=")[1].split('"')[0].split("/#")
    assert mode == oct(stat.S_IRUSR | stat.S_IWUSR)
    assert base == line.rstrip("/")
    # Neither the browser's arguments nor what may be a log hold it.
    assert token not in opened
    assert token not in line
    assert len(token) >= 40
    leads = list((tmp_path / "tmp").glob("defocus-*.html"))
    assert len(leads) == 1
    with pytest.raises(urllib.error.HTTPError):
        ask(base, "wrong", "photographs")
    assert leads[0].exists()
    assert ask(base, token, "photographs")[0] == 200
    wait_for(lambda: not leads[0].exists())


@needs_proc
def test_the_token_stands_in_no_arguments_and_no_environment(photo, start, tmp_path):
    process = start(photo, "--no-browser", *FAST)
    base, token = address(process)
    wait_for(lambda: has_map(base, token), 60)
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and os.getsid(int(each.name)) == process.pid:
                told = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
                assert token.encode() not in told
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    assert token not in (tmp_path / "stderr").read_text()


@needs_proc
def test_it_listens_on_this_computer_alone(photo, start):
    process = start(photo, "--no-browser", *FAST)
    port = int(address(process)[0].rsplit(":", 1)[1])
    wanted = f"{port:04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{wanted}") and line.split()[3] == "0A"
    ]
    assert listening == [f"0100007F:{wanted}"]


def test_a_port_that_is_taken_is_told_in_a_sentence(photo, run, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run("page", photo, "--no-browser", "--port", taken.getsockname()[1])
    assert code == 2
    assert "cannot be used" in " ".join(err.split())
    assert not (tmp_path / "defocus").exists()


@pytest.mark.parametrize("package", ["uvicorn", "starlette"])
def test_without_its_packages_one_sentence_says_what_to_install(photo, run, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package or name.startswith("defocus.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run("page", photo, "--no-browser")
    assert code == 2
    assert "pip install 'defocus[page]'" in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "psdtags"])
def test_other_commands_do_not_load_them(package):
    program = f"import sys, defocus.cli.app; defocus.cli.app.application(); print({package!r} in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert told.stdout.strip() == "False"


def test_what_cannot_be_shown_is_told(tmp_path, run):
    (tmp_path / "notes.txt").write_text("no photograph")
    code, _, err = run("page", tmp_path, "--no-browser")
    assert code == 2
    assert "holds no photographs" in err
    code, _, err = run("page", "-", "--no-browser")
    assert code == 2
    assert "name photographs or folders" in " ".join(err.replace("│", " ").split())


def test_what_a_damaged_photograph_lacks_is_told_on_the_page(photo, start, tmp_path):
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    process = start(photo, "--no-browser", *FAST)
    base, token = address(process)
    wait_for(lambda: has_map(base, token), 60)
    assert ask(base, token, "photographs/0/preview.jpg")[0] == 200
    told = json.loads(ask(base, token, "photographs")[1])["photographs"][0]
    assert told["warnings"][0].startswith("a.jpg is cut short")
    assert "cut short" not in (tmp_path / "stderr").read_text()


def test_a_shoot_is_read_quickly_first_and_its_outputs_are_left_out(tmp_path, start, run):
    for number in range(3):
        part = data.astronaut()[40 * number : 40 * number + 240, :320]
        Image.fromarray(part).save(tmp_path / f"{number}.jpg", quality=95)
    assert run("magnify", tmp_path / "0.jpg", "--method", "zhuo2011", "-o", tmp_path / "mine.jpg")[0] == 0
    process = start(tmp_path, "--no-browser", "-o", tmp_path / "out", *FAST)
    base, token = address(process)

    def told():
        return json.loads(ask(base, token, "photographs")[1])["photographs"]

    assert [each["name"] for each in told()] == ["0.jpg", "1.jpg", "2.jpg"]
    wait_for(lambda: all(each["has_map"] for each in told()), 120)
    assert all(each["state"] == "done" and each["words"] and "burst" in each for each in told())
    assert not (tmp_path / "out").exists()
    _, answer = ask(base, token, "photographs/1/export", {"kind": "mask"})
    assert (tmp_path / "out" / json.loads(answer)["name"]).is_file()
