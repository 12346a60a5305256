"""The report: one file that needs nothing else, and shows exactly what it was given."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from jeoni.report import markup
from jeoni.report.listed import spread
from jeoni.report.page import Report
from jeoni.report.sections import (
    Bars,
    Confusion,
    Curves,
    Headline,
    KeyValues,
    Marked,
    MarkedText,
    Note,
    Passages,
    Points,
    Section,
    Table,
    Text,
    Texts,
)
from report_page import EVERYTHING, NASTY, Page, render


@pytest.fixture(scope="module")
def everything() -> str:
    return Report("Report " + NASTY, NASTY, EVERYTHING).html()


def test_page_is_well_formed_and_small(everything: str, tmp_path: Path) -> None:
    path = Report("보고서", "", EVERYTHING).write(tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert path.stat().st_size < 1_500_000
    assert Page(everything).texts("h2")[1:3] == ["Scores", "Loss"]


def test_page_fetches_nothing(everything: str) -> None:
    page = Page(everything)
    for tag, attributes, _ in page.found:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    style = "".join(page.texts("style"))
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for _, a, _ in page.found if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy


def test_nothing_given_becomes_markup(everything: str) -> None:
    page = Page(everything)
    scripts = [attributes for tag, attributes, _ in page.found if tag == "script"]
    assert len(scripts) == 4  # the data of three charts, and the code that draws them
    assert not any(name.startswith("on") for _, attributes, _ in page.found for name in attributes)
    assert not page.texts("img")
    assert NASTY in page.texts("td")
    assert NASTY in page.texts("h3")
    assert f"Report {NASTY}" in page.texts("title")
    for text in page.texts("script")[:3]:
        assert "\u2028" not in text
        assert "<" not in text
        data = json.dumps(json.loads(text), ensure_ascii=False).replace('\\"', '"')
        assert NASTY in data or " ".join(NASTY.split()) in data  # titles are in one line


def test_named_spans_are_marked_in_their_text() -> None:
    text = "세종대왕은 서울에서 태어났다"
    page = render(
        Marked("M", [MarkedText(text, [(0, 4, "PS"), (6, 8, "LC")], [(6, 10, "LC")], False)])
    )
    gold, predicted = page.texts("p", "text")
    assert gold == "세종대왕PS은 서울LC에서 태어났다"
    assert predicted == "세종대왕은 서울에서LC 태어났다"
    assert page.texts("mark", "gold")[1:] == ["세종대왕PS", "서울LC"]  # the first is the legend's
    assert page.texts("mark", "predicted")[1:] == ["서울에서LC"]
    assert page.texts("small") == ["PS", "LC", "LC"]
    right = render(Marked("M", [MarkedText(text, [(0, 4, "PS")], [(0, 4, "PS")], True)]))
    assert len(right.texts("p", "text")) == 1


@pytest.mark.parametrize("spans", [[(0, 9, "A")], [(0, 2, "A"), (1, 3, "B")], [(2, 1, "A")]])
def test_spans_that_do_not_fit(spans: list[tuple[int, int, str]]) -> None:
    with pytest.raises(ValueError, match="overlaps, or is outside"):
        MarkedText("text", [], spans, False)


def test_only_charts_need_a_script() -> None:
    page = render(Table("T", ["a"], [[1]]), Curves("C", [], "x", "y"), Note("N", "text"))
    assert not page.texts("script")
    assert "script-src 'none'" in str([a for t, a, _ in page.found if t == "meta"])


@pytest.mark.parametrize(
    "section",
    [
        Headline({}, title="T"),
        Table("T", ["a"], []),
        Curves("T", [], "x", "y"),
        Curves("T", [{"x": 1, "y": math.nan}, {"x": 2}], "x", "y"),
        Bars("T", [{"a": "b", "v": math.inf}], "a", "v"),
        Confusion("T", [], []),
        Confusion("T", ["a"], [[0]]),
        Passages("T", []),
        Texts("T", []),
        Marked("T", []),
        Points("T", [{"x": 1, "y": None}], "x", "y"),
        KeyValues("T", {}),
        Note("T", " \n"),
    ],
    ids=lambda s: type(s).__name__ if not isinstance(s, str) else s,
)
def test_nothing_to_show(section: Section) -> None:
    page = render(section)
    assert page.texts("p", "empty") == ["Nothing to show."]
    assert not page.texts("figure")


def test_long_cells_keep_some_width_on_a_phone() -> None:
    table = Table("T", ["a", "b"], [["klue-mrc", "KLUE-BERT-base, KLUE-RoBERTa-base; test"]])
    page = Report("R", "", [table]).html()
    assert "<td>klue-mrc</td>" in page
    assert '<td class="long">KLUE-BERT-base' in page


def test_long_texts_are_folded() -> None:
    short, long = "A short text.", "word " * 300
    texts = Texts("T", [Text(text, "a", "b", False) for text in (short, long)])
    page = Report("R", "", [texts]).html()
    assert page.count("<details>") == 1
    assert f'dir="auto">{short}</p>' in page
    assert long in page


def test_languages_are_marked() -> None:
    page = render(Note("제목", "English text"), Note("Title", "한글"), Table("", ["값"], [[1]]))
    marked = {a["lang"]: t for t, a, _ in page.found if a.get("lang") and t in ("h2", "html")}
    assert marked == {"en": "h2", "ko": "h2"}
    assert [a["lang"] for t, a, _ in page.found if t == "html"] == ["en"]
    assert [a["lang"] for t, a, _ in page.found if t == "p" and "lang" in a][1:] == ["en", "ko"]


def test_contents_lead_to_the_sections() -> None:
    page = render(Headline({"F1": "1"}), *(Note(f"N{i}", "text") for i in range(3)))
    places = {attributes.get("id") for tag, attributes, _ in page.found if tag == "section"}
    links = [attributes["href"] for tag, attributes, _ in page.found if tag == "a"]
    assert len(links) == 3
    assert {link and link[1:] for link in links} <= places


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), ("text", "text"), (True, "True"), (0, "0"), (1234, "1234"), (12345, "12,345"),
        (58.312, "58.31"), (84.0, "84"), (3e-5, "3e-05"), (123456.78, "123,456.8"),
        (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"),
        (np.float32(0.5), "0.5"), (np.int64(7), "7"), (np.float32("nan"), "NaN"),
    ],
)  # fmt: skip
def test_cells(value: object, text: str) -> None:
    assert markup.cell(value) == text


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        ([1, 2.5], True), ([1, None], True), (["58.3", "8.1–10.0"], True), (["61 %", "–"], True),
        (["58.3 ± 1.2", "8 (6–10)"], True), (["a", 1], False), ([True], False), ([None], False),
        (["3 runs"], False), ([np.float32(1)], True),
    ],
)  # fmt: skip
def test_columns_of_numbers(cells: list[object], right: bool) -> None:
    assert markup.numeric(Table("T", ["c"], [[cell] for cell in cells])) == [right]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Table("T", ["a", "b"], [[1]]),
        lambda: Confusion("T", ["a", "b"], [[1, 2]]),
        lambda: Confusion("T", ["a", "b"], [[1, 2], [3]]),
    ],
)
def test_wrong_shapes_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="'T'"):
        make()


def test_confusion_gives_counts_and_shares_of_the_row() -> None:
    page = render(Confusion("C", ["a", "b", "c"], [[3, 1, 0], [0, 0, 0], [2, 2, 12_000]]))
    cells = page.texts("td")[1:]
    assert cells == ["375%", "125%", "00%", *["00%"] * 3, "20%", "20%", "12,000100%"]
    assert len(page.texts("td", "diagonal")) == 3


def test_settings_are_flattened_and_exact() -> None:
    values = {
        "a": {"b": {"c": 3e-5}, "empty": {}}, "seed": 123456, "on": True,
        "list": [0.9, None], "none": None, "many": [{"x": 1}, 2], "path": Path("x"),
    }  # fmt: skip
    assert dict(markup.flatten(values)) == {
        "a.b.c": "3e-05", "a.empty": "–", "seed": "123456", "on": "true",
        "list": "0.9, –", "none": "–", "many.0.x": "1", "many.1": "2", "path": "x",
    }  # fmt: skip


def test_half_an_emoji_can_be_written(tmp_path: Path) -> None:
    path = Report("T", "", [Note("N", "cut \ud83d here")]).write(tmp_path / "r.html")
    assert "cut ? here" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 23, 24, 100])
def test_what_is_listed_is_from_all_over(count: int) -> None:
    found = spread(range(count), 12)
    assert len(set(found)) == min(count, 12)
    if count >= 12:
        assert found[0] == 0
        assert found[-1] >= count * 11 // 12
