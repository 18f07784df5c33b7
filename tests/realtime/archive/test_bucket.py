"""A whole run in a bucket, by moto's server."""

import json
import subprocess
import sys

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@pytest.fixture(scope="module")
def bucket():
    """The address of a bucket, to be completed by a key, and pyarrow's file system for it."""
    pytest.importorskip("moto.server", reason="needs moto and Flask, of the extra test")
    fs = pytest.importorskip("pyarrow.fs")
    code = "from moto.server import ThreadedMotoServer as S; s = S(ip_address='127.0.0.1', port=0); s.start(); "
    code += "print(s.get_host_and_port()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        port = next(line.strip() for line in server.stdout if line.strip().isdecimal())
        store = fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1", access_key="any",
            secret_key="any", allow_bucket_creation=True,
        )  # fmt: skip
        store.create_dir("bucket")
        yield f"s3://bucket/{{}}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1".format, store
        server.communicate("\n", timeout=20)


def test_a_run_from_a_bucket_to_a_bucket(bucket, clips, run_archive, call_archive, live_rows, tmp_path, monkeypatch):
    address, store = bucket
    for path in clips.iterdir():
        store.create_dir("bucket/in/below", recursive=True)
        with store.open_output_stream(f"bucket/in/below/{path.name}") as stream:
            stream.write(path.read_bytes())
    table = tmp_path / "rows.csv"
    arguments = (address("in"), "--recursive", "--output", address("out"), "--csv", table, "--workers", 2)
    done = run_archive(*arguments, **KEYS)
    assert done.returncode == 1, done.stderr
    lines = table.read_text().replace("s3://bucket/in/below/", f"{clips}/").splitlines()
    assert sorted(lines) == live_rows(clips)
    with store.open_input_file("bucket/out/failures.csv") as file:
        failures = file.read().decode()
    assert "s3://bucket/in/below/cut.mp4: is not a readable video" in failures
    infos = store.get_file_info(pytest.importorskip("pyarrow.fs").FileSelector("bucket/out"))
    names = sorted(info.base_name for info in infos)
    assert len([name for name in names if name.startswith("part-")]) == len(names) - 3
    assert "127.0.0.1" not in done.stdout
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    again = call_archive(*arguments, "--dry-run")
    assert again.stdout.startswith("7 sources: 7 done, 0 to do\n")
    with store.open_output_stream("bucket/out/running.json") as stream:
        stream.write(json.dumps({"host": "elsewhere", "process": 7, "since": "noon", "seen": 4e9}).encode())
    second = call_archive(*arguments)
    assert second.returncode == 2
    assert "s3://bucket/out: a run on elsewhere is writing there (process 7, since noon)" in second.stderr
