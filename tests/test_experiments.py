"""The record of experiments: its table, the pages that tell of it, and their pictures."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
STORIES = [DOCS / "experiments.md", *sorted((DOCS / "experiments").glob("*.md"))]
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PICTURES = {".png", ".jpg", ".gif", ".svg", ".webp"}
COLUMNS = "id,date,commit,command,parents,public_accuracy,public_cross_entropy,ferplus_accuracy,hours,verdict,measured"
MOST = {"public_accuracy": 100, "ferplus_accuracy": 100, "public_cross_entropy": 3, "hours": 24}


@pytest.fixture(scope="module")
def runs():
    with (DOCS / "experiments" / "runs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def shown(page: Path) -> set[Path]:
    """Returns the pictures that a page shows, of those that lie beside it and not elsewhere on the web."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text) + re.findall(r"""<img[^>]*\bsrc=["']([^"']+)""", text)
    return {(page.parent / name).resolve() for name in found if "://" not in name}


def test_each_run_has_all_columns_and_figures_in_range(runs):
    for run in runs:
        assert ",".join(run) == COLUMNS
        assert re.fullmatch(r"\d{4}-\d\d-\d\d [0-9a-f]{7,40}", f"{run['date']} {run['commit']}"), run
        assert run["verdict"]
        assert run["measured"] == "by hand" or (
            run["measured"] == "command" and run["command"].startswith("python -m ")
        )
        assert all(not run[column] or 0 < float(run[column]) < most for column, most in MOST.items()), run


def test_ids_are_unique_and_parents_stand_above_their_children(runs):
    above = set()
    for run in runs:
        assert run["id"] not in above
        assert above.issuperset(run["parents"].split())
        above.add(run["id"])


@pytest.mark.parametrize("page", STORIES, ids=lambda page: page.name)
def test_pages_name_only_runs_of_the_table(page, runs):
    named = re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", page.read_text(encoding="utf-8"))
    assert named
    assert set(named) <= {run["id"] for run in runs}


def test_pages_show_pictures_that_exist_and_all_under_docs():
    all_shown = set().union(*map(shown, PAGES))
    assert [path for path in all_shown if not path.is_file()] == []
    assert {path for path in DOCS.rglob("*") if path.suffix in PICTURES} - all_shown == set()
