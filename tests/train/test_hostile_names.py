"""Names that others chose show as text in what we write as Markdown."""

import json
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib")

from fer_tf.table import Markdown, Table, to_markdown
from fer_tf.text import markdown, printable
from fer_tf.train.model_report import page
from fer_tf.train.settings import settle
from fer_tf.weights import DEFAULT_MODEL

markdown_it = pytest.importorskip("markdown_it")

HOSTILE = [
    "a|b|c",
    "`code` ``more``",
    "``",
    "`",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "one\ntwo\r\n\n# three",
    "[x](http://example.com)",
    "![x](http://example.com/x.png)",
    "[x]: http://example.com",
    "http://example.com/a_b_c",
    "<http://example.com>",
    "www.example.com and me@example.com",
    "*bold* __bold__ _it_ ~~gone~~ ~gone~",
    "snake_case_name-2.1",
    "&lt;b&gt; &amp; &#42;",
    r"back\slash \* \| end\\",
    r"a\|b `c|d`",
    "# heading #",
    "> quote",
    "- item",
    "+",
    "1. item",
    "2024)",
    "---",
    "===",
    "- - -",
    "    indented",
    "$x^2$ $`y`$",
    "| --- | --- |",
    "\x1b[31mred\x1b[0m \u202eevil",
    "name ending in two spaces  ",
    "",
]


class Rendered(HTMLParser):
    """The tags of a page, and the text in each of some."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag in ("td", "th", "p", "h1", "code"):
            self.texts.append((tag, ""))

    def handle_data(self, data):
        if self.texts:
            tag, text = self.texts[-1]
            self.texts[-1] = tag, text + data

    def of(self, tag):
        return [text.strip() for found, text in self.texts if found == tag]


def rendered(source):
    return Rendered(markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source))


@pytest.mark.parametrize("name", HOSTILE)
def test_in_a_cell(name):
    found = rendered(Table((name, "n"), [(name, name), ("b", "2")]).to_markdown())
    assert found.of("th") == [printable(name).strip(), "n"]
    assert found.of("td") == [printable(name).strip()] * 2 + ["b", "2"]
    assert set(found.tags) == {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_as_code_in_a_cell(name):
    found = rendered(Table(("a", "b"), [(Markdown(markdown(name, code=True)), "2")]).to_markdown())
    assert found.of("code") == [printable(name).strip()]
    assert set(found.tags) == {"table", "thead", "tbody", "tr", "th", "td", "code"}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_in_a_heading_and_a_paragraph(name):
    text = markdown(name)
    found = rendered(to_markdown([f"# {text}\n{text}", text, f"The {text}, and\n{text}"]))
    shown = printable(name).strip()
    assert found.of("h1") == [shown]
    assert [" ".join(part.split()) for part in found.of("p")] == [
        " ".join(part.split()) for part in (shown, shown, f"The {printable(name)}, and\n{printable(name)}")
    ]
    assert set(found.tags) == {"h1", "p"}


@pytest.mark.parametrize("name", HOSTILE)
def test_for_a_terminal_a_table_is_as_many_lines(name):
    assert len(Table(("a", "b"), [(name, "1"), ("x", name)]).to_text().splitlines()) == 4


def test_names_that_mean_nothing_stay_as_they_are():
    for name in ("base_cnn-stack_sharpen", "model (2).keras", "Intel(R) Xeon(R) @ 2.20GHz, 2 cores", "-9.71", "1.50%"):
        assert markdown(name) == name


EVERY = " ".join(name for name in HOSTILE if name != "# heading #")


def test_in_a_report(default_report):
    """Every text of a card is hostile; the page has the tags of one whose texts are not."""
    plain, hostile = (page(default_report(text), "a.png", "b.png") for text in ("harmless", EVERY))
    assert rendered(hostile).tags == rendered(plain).tags
    found, expected = rendered(hostile), rendered(plain)
    assert any(text.startswith(printable(EVERY)) for text in found.of("code"))
    for tag in ("h1", "td"):
        assert [" ".join(text.split()) for text in found.of(tag)] == [
            " ".join(text.replace("harmless", printable(EVERY)).split()) for text in expected.of(tag)
        ]


@pytest.fixture
def default_report():
    """A function that returns the report of the default model, with another text in each place for one."""

    def make(text):
        report = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text())
        training = settle({"teacher": ["t.onnx"], "init": "i"}) | {"teacher": [text], "init": text, "data": text}
        training |= {"teacher_origins": [{"name": text, "sha256": "ab" * 32, "training": {}}], "hours": text}
        training |= {"init_sha256": "ef" * 32, "init_origin": {}, "dataset": text}
        report["card"] |= dict.fromkeys(("name", "architecture", "dataset", "arithmetic", "license"), text)
        report["card"] |= {"intended_uses": f"x{text}", "excluded_uses": text, "source_file": text}
        report["card"]["training"] = {"members": [{"name": text, "training": training}] * 2}
        report["measured_by"] = text
        report["cost"]["machine"] = text
        return report

    return make


def test_the_pictures_of_a_report_of_any_name_are_found(default_report):
    source = page(default_report("x"), "my report (1).png", "ä [b].png")
    found = markdown_it.MarkdownIt("commonmark").render(source)
    assert '<img src="my%20report%20%281%29.png"' in found
    assert '<img src="%C3%A4%20%5Bb%5D.png"' in found
