import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tf import locks
from fer_tf.errors import UserError
from fer_tf.locks import claim, lock


class FakeMsvcrt:
    """Locks bytes as Windows does: for a file that is open once, from its position on, until it is closed."""

    LK_NBLCK = 2

    def __init__(self):
        self._holders: dict[tuple, int] = {}

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        key = (self._identity(descriptor), os.lseek(descriptor, 0, os.SEEK_CUR))
        holder = self._holders.get(key, descriptor)  # the same descriptor once more: of a file opened anew
        if holder != descriptor and self._identity(holder) == key[0]:
            raise PermissionError(errno.EACCES, "Permission denied")
        self._holders[key] = descriptor

    def locked_bytes(self) -> list[int]:
        return [byte for (identity, byte), holder in self._holders.items() if self._identity(holder) == identity]

    @staticmethod
    def _identity(descriptor: int):
        try:
            status = os.fstat(descriptor)
        except OSError:
            return None  # closed
        return status.st_dev, status.st_ino


@pytest.fixture
def windows(monkeypatch):
    fake = FakeMsvcrt()
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", fake, raising=False)
    return fake


@pytest.fixture(params=["this system", "Windows"])
def any_system(request):
    if request.param == "Windows":
        request.getfixturevalue("windows")


@pytest.mark.usefixtures("any_system")
def test_a_claimed_file_is_refused_to_others_until_it_is_closed(tmp_path):
    path = tmp_path / "faces.csv"
    with claim(path), pytest.raises(UserError, match=f"{path.name}: another run is writing it"):
        claim(path)
    with claim(path), claim(tmp_path / "other.csv"):
        pass


@pytest.mark.usefixtures("any_system")
def test_a_lock_is_refused_as_an_error_of_its_own(tmp_path):
    with open(tmp_path / "lock", "w") as first, open(tmp_path / "lock", "w") as second:
        lock(first)
        with pytest.raises(BlockingIOError):
            lock(second)


@pytest.mark.usefixtures("any_system")
def test_what_is_written_after_a_lock_goes_where_it_would_have_gone(tmp_path):
    (tmp_path / "faces.csv").write_text("header\n")
    with claim(tmp_path / "faces.csv") as file:
        file.write(b"row\n")
    assert (tmp_path / "faces.csv").read_text() == "header\nrow\n"
    with open(tmp_path / "lock", "w") as file:
        file.write("before, ")
        lock(file)
        file.write("after")
    assert (tmp_path / "lock").read_text() == "before, after"


def test_windows_locks_a_byte_that_nobody_reads(tmp_path, windows):
    with claim(tmp_path / "faces.csv") as file:
        file.write(b"row\n" * 1000)
        file.flush()
        (byte,) = windows.locked_bytes()
        assert byte > 1e12  # no recording comes so far, and a byte locked in its way would end it
    assert windows.locked_bytes() == []


def test_other_errors_of_windows_are_no_lock_of_another_run(tmp_path, windows, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(windows, "locking", fail)
    with open(tmp_path / "lock", "w") as file, pytest.raises(OSError, match="Invalid argument"):
        lock(file)
    claim(tmp_path / "faces.csv").close()


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "faces.csv"
    code = (
        "import sys; from fer_tf.locks import claim; file = claim(sys.argv[1]); print('claimed', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) as other:
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(UserError, match="another run is writing it"):
            claim(path)
        other.kill()
    claim(path).close()


def test_a_file_system_without_locks_is_no_error(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def fail(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with claim(tmp_path / "faces.csv") as file:
        file.write(b"row\n")
    assert (tmp_path / "faces.csv").read_bytes() == b"row\n"


def test_a_device_may_have_several_writers():
    if not Path("/dev/null").is_char_device():
        pytest.skip("no /dev/null on this system")
    with claim("/dev/null"), claim("/dev/null"):
        pass
