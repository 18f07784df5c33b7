"""Carries out damaged cases in worker processes, and prints what became of them, by kind. Exit code 1: some failed."""

import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fer_tf.command import Parser, command, positive

from .worker import CPU_SECONDS, FAILURES, MEMORY, OUTCOMES, draw

ROOT = Path(__file__).parents[2]

_PATIENCE = 180.0
"""Seconds after which a worker that does not answer is ended."""

_CASES_OF_A_WORKER = 400
"""After so many a worker is replaced, since frameworks grow with each network that they have seen."""


class Worker:
    """A worker process, started when it is needed.

    Args:
        seed: Of all cases.
        seeds: Folder for the valid files.
        work: Folder for the damaged ones.
    """

    def __init__(self, seed: int, seeds: Path, work: Path):
        self._arguments = [sys.executable, "-m", "tests.fuzz.worker", str(seed), str(seeds), str(work)]
        self._process: subprocess.Popen[str] | None = None
        self._cases = 0

    def carry_out(self, number: int) -> dict[str, Any]:
        """Returns what became of a case."""
        if self._process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(self._arguments, cwd=ROOT, text=True, **pipes)
            self._cases = 0
        process = self._process
        late = threading.Timer(_PATIENCE, process.kill)
        late.start()
        try:
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finished = late.finished.is_set()
        late.cancel()
        self._cases += 1
        if not answer:
            code = process.wait()
            self._process = None
            if finished:
                return {"outcome": "over a limit", "detail": f"no answer for {_PATIENCE:.0f} s"}
            return {"outcome": "crash", "detail": f"the process ended with {code}"}
        if self._cases >= _CASES_OF_A_WORKER:
            self.close()
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        if self._process:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def run(numbers: list[int], *, seed: int, workers: int, keep: Path, quiet: bool = False) -> list[dict[str, Any]]:
    """Carries out cases, and returns what became of each; those that fail are repeated in a process of their own.

    Args:
        numbers: Of the cases.
        seed: Of all choices.
        workers: Number of worker processes.
        keep: Folder for the files of the cases that fail.
        quiet: Whether to show no progress.
    """
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        left.put(number)
    found: list[dict[str, Any]] = []
    bar = tqdm(total=len(numbers), unit="case", disable=quiet or None)
    with tempfile.TemporaryDirectory(prefix="fer-tf-fuzz-") as place:
        seeds, work = Path(place, "seeds"), Path(place, "work")
        work.mkdir()

        def take() -> None:
            worker = Worker(seed, seeds, work)
            while True:
                try:
                    number = left.get_nowait()
                except queue.Empty:
                    break
                result = worker.carry_out(number)
                if result["outcome"] in FAILURES:
                    worker.close()  # a failure counts if a fresh process has it, too
                    result = worker.carry_out(number)
                    worker.close()
                result = {"number": number, "kind": draw(seed, number)[0], **result}
                found.append(result)
                if result["outcome"] in FAILURES:
                    _keep(result, work, keep)
                    bar.write(describe(result), file=sys.stderr)
                bar.update()
            worker.close()

        threads = [threading.Thread(target=take) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    bar.close()
    return sorted(found, key=lambda result: result["number"])


def _keep(result: dict[str, Any], work: Path, keep: Path) -> None:
    """Moves the files of a case, and writes beside them how to repeat it."""
    number = result["number"]
    keep.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(keep / str(number), ignore_errors=True)
    if Path(work, str(number)).exists():
        shutil.move(work / str(number), keep / str(number))
    command = Path(work, f"{number}.txt")
    text = command.read_text() if command.exists() else ""
    (keep / f"{number}.txt").write_text(f"{text}{result['outcome']}: {result['detail']}\n")


def describe(result: dict[str, Any]) -> str:
    """Returns what became of a case, in a line."""
    last = (result["detail"].strip().splitlines() or [""])[-1]
    return f"{result['number']} ({result['kind']}): {result['outcome']}: {last[:160]}"


def table(found: list[dict[str, Any]]) -> str:
    """Returns a table of outcomes, a row for each kind."""
    counts = Counter((result["kind"].partition(" ")[0], result["outcome"]) for result in found)
    kinds = sorted({kind for kind, _ in counts})
    lines = [["kind", "cases", *OUTCOMES]]
    for kind in [*kinds, "all"]:
        row = [sum(n for (k, o), n in counts.items() if kind in (k, "all") and o == outcome) for outcome in OUTCOMES]
        lines.append([kind, str(sum(row)), *map(str, row)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


@command
def main(argv: list[str] | None = None) -> int:
    """Runs the cases and prints the table."""
    parser = Parser(
        "tests.fuzz",
        description="Damage files of every kind that the commands read, and run the commands. A case must end in a "
        f"valid result or in one line, within {CPU_SECONDS:.0f} s of processor time and {MEMORY / 1e9} GB of memory.",
    )
    option = parser.add_argument
    option("--cases", type=positive(), default=3000, metavar="N", help="number of cases (default: %(default)s)")
    option("--seed", type=int, default=0, metavar="N", help="seed of all choices (default: 0)")
    option("--case", type=int, nargs="+", metavar="N", help="carry out these cases alone, by number")
    option("--kind", help="carry out only the cases whose kind begins with this")
    option("--workers", type=positive(), default=2, metavar="N", help="worker processes (default: %(default)s)")
    default = ROOT / "build/fuzz"
    option("--keep", type=Path, default=default, metavar="DIR", help="for failures (default: build/fuzz)")
    arguments = parser.parse_args(argv)
    numbers = arguments.case or range(arguments.cases)
    wanted = [n for n in numbers if draw(arguments.seed, n)[0].startswith(arguments.kind or "")]
    if not wanted:
        parser.error(
            f"no case is of --kind {arguments.kind}; expected the beginning of one in the table's first column"
        )
    found = run(wanted, seed=arguments.seed, workers=arguments.workers, keep=arguments.keep)
    print(table(found))
    failed = [result for result in found if result["outcome"] in FAILURES]
    if failed:
        print(f"their files are in {arguments.keep}; repeat one by --seed {arguments.seed} --case NUMBER")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
