"""A process that carries out cases, given by number on its standard input, and answers with a line of JSON for each."""

import contextlib
import importlib
import json
import os
import resource
import shlex
import shutil
import sys
import time
import traceback
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_tf.quiet import configure_tensorflow

from .damage import Random
from .kinds import KINDS, Kind, Outcome, command_line

CPU_SECONDS = 20.0
"""Most processor time that a case may take, apart from imports."""

MEMORY = 1_500_000_000
"""Most bytes that a case may take beside what the process held before."""

_MOST_ADDRESSES = 6_000_000_000
"""Address space beyond what is mapped before a case: keeps a bomb from taking the machine's memory."""

_LONGEST_LINE = 3000
"""Characters of a line on stderr."""

FAILURES = ("traceback", "crash", "over a limit", "wrong")
OUTCOMES = ("done", "some failed", "refused", *FAILURES, "left out")


def draw(seed: int, number: int) -> tuple[str, Kind, Random]:
    """Returns the kind of a case, and the source of chance for the rest of it."""
    chance = Random(f"{seed} {number}")
    names = list(KINDS)
    (name,) = chance.choices(names, [KINDS[name].share for name in names])
    return name, KINDS[name], chance


def carry_out(seed: int, number: int, seeds: Path, work: Path) -> dict[str, Any]:
    """Carries out a case in a folder of its own, which stays if it failed."""
    name, kind, chance = draw(seed, number)
    if kind.missing:
        return {"kind": name, "outcome": "left out", "detail": ""}
    folder = work / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    _write_seeds(kind, seeds / name.replace(" ", "-"))
    shutil.copytree(seeds / name.replace(" ", "-"), folder)
    os.chdir(folder)
    try:
        with _captured():
            kind.prepare()
        target = kind.harm(chance)
        module, arguments = command_line(chance.choice(kind.commands), target)
        said = shlex.join([module, *(argument.encode(errors="replace").decode() for argument in arguments)])
        Path(work, f"{number}.txt").write_text(f"{name}: python -m {said}\n")
        outcome, detail = _judged(kind, module, arguments, target)
    finally:
        os.chdir(work)
    if outcome not in FAILURES:
        shutil.rmtree(folder)
        Path(work, f"{number}.txt").unlink()
    return {"kind": name, "outcome": outcome, "detail": detail, "command": said}


def _write_seeds(kind: Kind, folder: Path) -> None:
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}-{os.getpid()}")
    partial.mkdir(parents=True)
    with _captured():
        kind.write(partial)
    with contextlib.suppress(OSError):  # another worker was faster
        partial.rename(folder)


def _judged(kind: Kind, module: str, arguments: list[str], target: str) -> tuple[str, str]:
    """Runs a command, and returns what became of it, with a detail."""
    for loaded in kind.loads:
        importlib.import_module(loaded)
    name = "fer_tf.realtime.archive.__main__" if module == "realtime.archive" else module
    name = "fer_tf.fer2013.__main__" if module == "fer_tf.fer2013" else name
    main = importlib.import_module(name if name.startswith("fer_tf.") else f"fer_tf.{name}").main
    before, begun = _resident(), time.process_time()
    problem = ""
    with _captured() as printed, _bounded(), kind.around():
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            code, problem = -1, traceback.format_exc()
    taken, grown = time.process_time() - begun, _resident(peak=True) - before
    output, errors = printed()
    if problem or "Traceback (most" in errors:
        return "traceback", problem or errors
    if taken > CPU_SECONDS:
        return "over a limit", f"{taken:.0f} s of processor time; {errors}"
    if grown > MEMORY or "memory" in errors:
        return "over a limit", f"{grown / 1e6:.0f} MB; {errors}"
    if problem := _ill_formed(code, output, errors, many=os.path.isdir(target)):
        return "wrong", f"{problem}\n{output}{errors}"
    if code:
        return ("refused" if code == 2 else "some failed"), errors
    try:
        problem = kind.judge(Outcome(code, output, errors, [module, *arguments], target)) or ""
    except Exception:
        problem = f"what was written cannot be judged: {traceback.format_exc()}"
    return ("wrong", f"{problem}\n{errors}") if problem else ("done", "")


def _ill_formed(code: int, output: str, errors: str, *, many: bool) -> str:
    """Returns what is wrong with the form in which a command answers; of many inputs each may have a line."""
    lines = errors.splitlines()
    if code not in (0, 1, 2):
        return f"exit code {code}"
    count = sum(line.startswith("error: ") for line in lines)
    if code == 2 and count != 1 and not (many and count):
        return "exit code 2 without one line that says why"
    if any(not line.startswith(("error: ", "note: ", "skipped: ")) for line in lines):
        return "a line on stderr that is no error, note or list of what was skipped"
    if any(len(line) > _LONGEST_LINE for line in lines):
        return "a line on stderr that nobody would read"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\n\t" for char in output + errors):
        return "control characters in what is printed"
    if left := [str(path) for path in Path().rglob(".*.part*")]:
        return f"left over: {left}"
    return ""


@contextlib.contextmanager
def _captured() -> Iterator[Any]:
    """Takes what the process writes, also that of compiled libraries; yields a function that returns it as text."""
    kept, files = [os.dup(1), os.dup(2)], [Path(f"/tmp/fuzz-{os.getpid()}-{number}") for number in (1, 2)]
    streams = sys.stdout, sys.stderr
    for number, file in enumerate(files, 1):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = (
        open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    texts: list[str] = []
    try:
        yield lambda: texts
    finally:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            with contextlib.suppress(ValueError, OSError):
                stream.flush()
            os.dup2(kept[number - 1], number)
            os.close(kept[number - 1])
        sys.stdout, sys.stderr = streams
        texts += [file.read_bytes().decode(errors="replace") for file in files]
        for file in files:
            file.unlink()


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Bounds the address space, where the system says how much is mapped."""
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    limit = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(status.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _MOST_ADDRESSES, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


def _resident(*, peak: bool = False) -> int:
    """Returns the bytes that this process holds in memory, or the most that it held; 0 if the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return 1024 * int(fields["VmHWM" if peak else "VmRSS"].split()[0])


def main() -> None:
    """Answers until the input ends."""
    seed, seeds, work = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    configure_tensorflow()  # before any case imports it
    os.environ["FER_TF_CACHE"] = str(work / f"cache-{os.getpid()}")
    os.environ.pop("FER2013", None)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(carry_out(seed, int(line), seeds, work)), file=answers, flush=True)
    shutil.rmtree(os.environ["FER_TF_CACHE"], ignore_errors=True)


if __name__ == "__main__":
    main()
