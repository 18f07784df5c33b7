import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.quiet import muted_stderr

ROOT = Path(__file__).parents[2]
OUT_OF_MEMORY = "error: out of memory; close other programs, or use smaller images, smaller batches or less data"


class ResourceExhaustedError(Exception):
    """Has the name of TensorFlow's."""


def outcome(action, capsys):
    """Runs a command that does `action`; returns its exit code and the lines on stderr."""
    code = command(lambda argv: action())([])
    return code, capsys.readouterr().err.splitlines()


def raising(error):
    def action():
        raise error

    return action


def of_opencv(code):
    error = cv2.error("OpenCV(4.13.0) …")
    error.code = code
    return error


def of_c_code(cause):
    error = SystemError("<built-in function integral> returned a result with an exception set")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("bad\ninput"), "error: bad input"),
        (FileNotFoundError(2, "No such file or directory", "x.zip"), "error: x.zip: No such file or directory"),
        (OSError(28, "No space left on device"), "error: No space left on device"),
        (MemoryError(), OUT_OF_MEMORY),
        (ResourceExhaustedError("OOM when allocating tensor"), OUT_OF_MEMORY),
        (of_opencv(-4), OUT_OF_MEMORY),
        (of_c_code(MemoryError()), OUT_OF_MEMORY),
        (SystemError("<ufunc 'multiply'> returned NULL without setting an exception"), OUT_OF_MEMORY),
        (RuntimeError("can't start new thread"), OUT_OF_MEMORY),
        (ImportError("libx.so: failed to map segment from shared object"), OUT_OF_MEMORY),
        (
            ModuleNotFoundError("No module named 'tf2onnx.x'", name="tf2onnx.x"),
            f'error: this needs tf2onnx.x, which is not installed; run: pip install -e "{ROOT}[export]"',
        ),
    ],
)
def test_what_a_user_causes_is_one_line_and_exit_code_2(error, expected, capsys):
    assert outcome(raising(error), capsys) == (2, [expected])


def test_our_own_errors_stay_errors():
    with pytest.raises(ZeroDivisionError):
        command(lambda argv: 1 / 0)([])
    with pytest.raises(cv2.error):
        command(lambda argv: raising(of_opencv(-215))())([])
    with pytest.raises(SystemError):
        command(lambda argv: raising(of_c_code(ValueError()))())([])
    with pytest.raises(RuntimeError):
        command(lambda argv: raising(RuntimeError("dictionary changed size during iteration"))())([])
    with pytest.raises(ModuleNotFoundError):
        command(lambda argv: __import__("no_such_module_of_ours"))([])


def test_ctrl_c_is_130_and_success_0(capsys):
    assert outcome(raising(KeyboardInterrupt()), capsys) == (130, ["", "stopped"])
    assert outcome(lambda: None, capsys) == (0, [])
    assert outcome(lambda: 1, capsys) == (1, [])


def test_what_the_terminal_cannot_show_is_written_as_numbers():
    code = "from fer_tf.command import command\ncommand(lambda argv: print('写\\udcff'))([])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("\\u5199\\udcff\n", "")


@pytest.mark.parametrize("lines", [99, 99999])  # what is printed at once when Python ends, and what is not
def test_a_closed_pipe_is_silent_and_no_success(lines):
    code = "import sys; from fer_tf.command import command\n@command\ndef main(argv=None):\n  sys.stdin.read()\n"
    code += f"  for i in range({lines}): print(i)\nraise SystemExit(main())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    run = subprocess.Popen([sys.executable, "-c", code], **pipes, text=True, env=environment)
    run.stdout.close()
    run.stdin.close()
    assert run.stderr.read() == ""
    assert run.wait() == 141


@pytest.mark.parametrize(("closed", "expected"), [(">&-", ["error: x"]), ("2>&-", ["done"]), (">&- 2>&-", [])])
def test_closed_outputs_lead_nowhere(closed, expected):
    code = "import sys; from fer_tf.command import *; sys.exit(command(lambda argv: print('done') or f())([]))"
    code = f"from fer_tf.command import UserError\ndef f(): raise UserError('x')\n{code}"
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], capture_output=True, text=True)
    assert (done.returncode, (done.stdout + done.stderr).splitlines()) == (2, expected)


def test_onnxruntime_tells_nobody(tmp_path):
    """It would leave a number for the machine, and what to send, below the home folder."""
    code = "import fer_tf, onnxruntime; fer_tf.Recognizer(fer_tf.DEFAULT_MODEL)"
    names = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA")
    environment = {**os.environ, **dict.fromkeys(names, str(tmp_path)), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.rglob("*onnxruntime*"))


def test_a_wrong_argument_is_one_line(capsys):
    parser = Parser("realtime.webcam")
    parser.add_argument("--n", type=positive())
    expected = ["error: argument --n: '0' is not a whole number above 0 (see python -m realtime.webcam --help)"]
    assert outcome(lambda: parser.parse_args(["--n", "0"]), capsys) == (2, expected)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_positive_refuses(text):
    with pytest.raises(Exception, match="whole number above 0"):
        positive()(text)


@pytest.mark.parametrize("text", ["0", "nan", "inf", "x"])
def test_positive_number_refuses(text):
    with pytest.raises(Exception, match="number above 0"):
        positive(float)(text)
    assert positive(float)("0.5") == 0.5


def test_muted_stderr_mutes_and_gives_back(capfd):
    with muted_stderr():
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'noise')"], check=True)
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'signal')"], check=True)
    assert capfd.readouterr().err == "signal"
