import functools
import io
import re

import pytest
from tqdm import tqdm

from fer_tf.train import progress as module
from fer_tf.train.cell import Cell
from fer_tf.train.run_folder import HISTORY_COLUMNS, RunFolder


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def cells(tmp_path):
    """Three cells of four epochs: one has two, one is new, and one is damaged."""
    cells = [Cell(RunFolder(tmp_path / name), {"epochs": 4}) for name in "abc"]
    train(cells[0], 2)
    (tmp_path / "c").mkdir()
    cells[2].folder.history.write_text("epoch\n1\n")
    return cells


def train(cell, epochs):
    cell.folder.write_history([dict.fromkeys(HISTORY_COLUMNS, 1.0)] * epochs)


def test_it_counts_epochs_cells_and_workers(cells, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(module, "tqdm", functools.partial(tqdm, ncols=120, nrows=40, mininterval=0))
    monkeypatch.setattr(module.tqdm, "write", tqdm.write, raising=False)
    monkeypatch.setattr(module, "_PAUSE", 0)
    progress = module.Progress(cells)
    progress.show(1)
    train(cells[0], 4)
    progress.show(2)
    progress.count(cells[0])
    progress.say("note: b: its worker ended")
    train(cells[1], 1)
    progress.show(2)
    progress.close()
    shown = terminal.getvalue().split("\r")
    assert "2/12" in shown[1]
    assert any("starting Ray" in line for line in shown)
    assert any("cells 0/3, workers 1" in line for line in shown)
    assert re.search(r"42%.* 5/12 \[.*<.*epochs.*cells 1/3, workers 2\]", shown[-1])
    assert "note: b: its worker ended" in terminal.getvalue()
    assert capsys.readouterr().out.strip().endswith("cell 1/3: a")
