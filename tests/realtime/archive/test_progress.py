import functools
import io
import re

import pytest
from tqdm import tqdm

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra cluster")

from fer_tf.realtime.archive import progress as progress_module
from fer_tf.realtime.archive.listing import Item
from fer_tf.realtime.archive.parts import entry_of
from fer_tf.realtime.archive.plan import Plan, Shard
from fer_tf.realtime.archive.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_it_counts_sources_bytes_and_workers(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    shape = {"ncols": 120, "nrows": 40, "mininterval": 0}
    monkeypatch.setattr(progress_module, "tqdm", functools.partial(tqdm, **shape))
    monkeypatch.setattr(progress_module, "say", lambda line: terminal.write(f"{line}\n"))
    items = [Item(f"{number}.mp4", f"/{number}.mp4", 10**6, 1.0) for number in range(4)]
    progress = Progress(Plan([Shard("a", tuple(items[1:]))], [entry_of(items[0])], []))
    progress.change(None, 0)
    progress.change(None, 2)
    progress.change(entry_of(items[1]), 2)
    progress.change(entry_of(items[2], error="2.mp4: is broken"), 2)
    progress.close()
    shown = terminal.getvalue().split("\r")
    assert "sources 1/4, starting Ray" in shown[2]
    assert any("sources 1/4, workers 0" in line for line in shown)
    assert re.search(r"75%.* 3\.00M/4\.00M \[.*<.*B/s, sources 3/4, workers 2\]", shown[-1])
    assert "error: 2.mp4: is broken" in terminal.getvalue()
