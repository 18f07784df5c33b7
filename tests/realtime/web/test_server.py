import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.web.export import write_site
from fer_tf.realtime.web.server import open_server
from fer_tf.realtime.web.site import DEFAULT_MODEL, HEADERS, POLICY, TYPES, files

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "realtime/web/page"


@pytest.fixture
def ask(address):
    """A function that returns status, headers and content of an answer; headers and method may be of one's own."""
    connection = http.client.HTTPConnection(address.split("/")[2], timeout=10)

    def request(path, method="GET", **headers):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    yield request
    connection.close()


def test_every_file_of_the_page_is_served_with_its_headers(ask):
    on_disk = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()}
    table = files(DEFAULT_MODEL)
    assert table.keys() == on_disk | {"detector.onnx", "detector.LICENSE.txt", "model.onnx"}
    for name, path in table.items():
        status, headers, content = ask(f"/{name}")
        assert (status, content) == (200, path.read_bytes()), name
        assert headers.items() >= HEADERS.items()
        assert headers["Content-Type"] == TYPES[path.suffix if name != "detector.LICENSE.txt" else ".txt"]
        assert "Python" not in headers["Server"]
    assert ask("/")[2] == ask("/index.html?x=1")[2] == (PAGE / "index.html").read_bytes()


def test_the_policy_allows_no_code_but_the_page_s_own(ask):
    policy = dict(part.split(" ", 1) for part in ask("/")[1]["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert policy["connect-src"] == policy["style-src"] == "'self'"
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert f'content="{POLICY}"' in index
    assert not re.search(r"<style|<script(?! type=\"module\" src=)| style=| on\w+=", index)
    assert not re.search(r"https?://|//\w+\.\w+", index)


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/pyproject.toml",
        "//etc/passwd",
        "/etc/passwd",
        "/core",
        "/core/",
        "/C:/x",
        "/index",
    ],
)
def test_nothing_else_is_served(ask, path):
    assert ask(path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", ""])
def test_other_hosts_are_refused(ask, host):
    status, _, content = ask("/", Host=host)
    assert (status, content) == (403, b"unknown host\n")


def test_localhost_is_ours_and_other_methods_are_not(ask, address):
    assert ask("/", Host=address.split("/")[2].replace("127.0.0.1", "localhost"))[0] == 200
    status, headers, content = ask("/model.onnx", "HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) == DEFAULT_MODEL.stat().st_size
    assert ask("/", "POST")[0] == 501


def test_a_browser_that_has_a_file_is_told_so(ask):
    tag = ask("/style.css")[1]["ETag"]
    status, headers, content = ask("/style.css", **{"If-None-Match": tag})
    assert (status, content, headers["ETag"]) == (304, b"", tag)
    assert ask("/main.mjs", **{"If-None-Match": tag})[0] == 200


def test_a_first_visit_loads_at_most_eight_megabytes():
    loaded = [path for name, path in files(DEFAULT_MODEL).items() if not name.endswith(".txt")]
    assert sum(path.stat().st_size for path in loaded) <= 8e6


def test_a_port_that_is_taken_is_named(address):
    port = int(address.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(UserError, match=rf"^port {port} cannot be used \(.*\); choose another --port"):
        open_server({}, port)


def test_an_exported_site_has_every_file_and_replaces_itself_alone(tmp_path):
    table = files(DEFAULT_MODEL)
    folder = tmp_path / "site"
    assert write_site(table, folder) == write_site(table, folder) == len(table)
    written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert written.keys() == table.keys()
    assert 'lang="en" data-offline>' in written["index.html"].read_text(encoding="utf-8")
    same = set(table) - {"index.html"}
    assert all(written[name].read_bytes() == table[name].read_bytes() for name in same)
    (folder / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"thesis\.txt: is not part of the site"):
        write_site(table, folder)
    with pytest.raises(UserError, match="is a file"):
        write_site(table, folder / "thesis.txt")


def run(*arguments, **options):
    command = [sys.executable, "-m", "realtime.web", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "0x50"], "'0x50' is not a port; expected a whole number from 1 to 65535"),
        (["--port", "70000"], "'70000' is not a port"),
        (["--model", "nowhere.onnx"], "nowhere.onnx: no such model file"),
        (["--model", "weights/face_detector.onnx"], "is a face detector"),
        (["--export", "README.md"], "README.md: is a file; --export expects a folder"),
        (["--export", "docs"], "is not part of the site"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="ignored here, and so by the command")
def test_the_command_serves_a_model_of_one_s_own_until_it_is_interrupted(make_model_file, tmp_path):
    model = make_model_file(tmp_path / "tiny.onnx")
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "realtime.web", "--model", str(model)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        host = re.match(r"http://(127\.0\.0\.1:\d+)/ \(Ctrl-C ends\)\n", process.stdout.readline())[1]
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", "/model.onnx")
        assert connection.getresponse().read() == model.read_bytes()
        connection.close()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert told == "note: no browser could be opened; open this address in one on this machine\n"


def test_the_manifest_is_json():
    assert json.loads((PAGE / "manifest.webmanifest").read_text(encoding="utf-8"))["name"]
