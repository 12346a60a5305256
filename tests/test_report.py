"""The report: one file that needs nothing else, and shows exactly what it was given."""

import html.parser
import itertools
import json
import math
import re
import shutil
import subprocess
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jeoni.report import markup, plots
from jeoni.report.page import Report
from jeoni.report.sections import (
    Bars,
    Confusion,
    Curves,
    Headline,
    KeyValues,
    Note,
    Passage,
    Passages,
    Section,
    Table,
    Text,
    Texts,
    finite,
)

NASTY = '</script><script>alert("1")</script><img src=x onerror=alert(1)>&amp;\u2028\u2029{{ 7*7 }}'
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(html.parser.HTMLParser):
    """Elements in order, with their text; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words: list[str] = []
        self.found.append((tag, dict(attrs), words))
        if tag not in VOID:
            self.open.append((tag, words))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, words in self.open:
            words.append(data)

    def texts(self, tag: str, name: str = "") -> list[str]:
        """Texts of the elements with this tag (and class)."""
        return [
            "".join(words)
            for found, attributes, words in self.found
            if found == tag and (not name or name in (attributes.get("class") or "").split())
        ]


def render(*sections: Section, lang: str = "en") -> Page:
    return Page(Report("Title", "Subtitle", sections, lang=lang).html())


def passage(context: str, gold: list[tuple[int, int]], predicted: tuple[int, int] | None) -> Page:
    item = Passage("Q?", context, gold, predicted, good=False)
    return render(Passages("Examples", [item]))


LOSSES = [{"step": i, "loss": 3.0 / (i + 1), "run": f"실행 {i % 2}"} for i in range(20)]
SCORES = [{"run": NASTY, "f1": 58.3, "lo": 54.0, "hi": 62.0}, {"run": "b", "f1": 8.0}]
EVERYTHING: list[Section] = [
    Headline({"F1": "58.3", NASTY: 1.5}),
    Note("About " + NASTY, f"first {NASTY}\n\nsecond"),
    Table("Scores", ["run", NASTY], [[NASTY, 1.25], ["b", None]], note=NASTY),
    Curves("Loss", [*LOSSES, {"step": 1, "loss": 2.0, "run": NASTY}], "step", "loss", "run"),
    Bars("F1", SCORES, "run", "f1", "lo", "hi"),
    Confusion("Confusion", ["긍정", NASTY], [[3, 1], [0, 5]]),
    Passages("Passages", [Passage(NASTY, NASTY * 9, [(3, 9)], (5, 12), True, NASTY)]),
    Texts("Texts", [Text(NASTY, NASTY, "b", False, 0.5), Text("글", "a", "a", True)]),
    KeyValues("Settings", {"model": {"name": NASTY, "sizes": [1, 2]}, "none": None}),
]


@pytest.fixture(scope="module")
def everything() -> str:
    return Report("Report " + NASTY, NASTY, EVERYTHING).html()


def test_page_is_well_formed_and_small(everything: str, tmp_path: Path) -> None:
    path = Report("보고서", "", EVERYTHING, lang="ko").write(tmp_path / "new" / "report.html")
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
    assert len(scripts) == 3  # the data of two charts, and the code that draws them
    assert not any(name.startswith("on") for _, attributes, _ in page.found for name in attributes)
    assert not page.texts("img")
    assert NASTY in page.texts("td")
    assert NASTY in page.texts("h3")
    assert f"Report {NASTY}" in page.texts("title")
    for text in page.texts("script")[:2]:
        assert "\u2028" not in text
        assert "<" not in text
        assert NASTY in json.dumps(json.loads(text), ensure_ascii=False).replace('\\"', '"')


def test_only_charts_need_a_script() -> None:
    page = render(Table("T", ["a"], [[1]]), Curves("C", [], "x", "y"), Note("N", "text"))
    assert not page.texts("script")
    assert "script-src 'none'" in str([a for t, a, _ in page.found if t == "meta"])


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", "Nothing to show."), ("ko", "보여 줄 것이 없습니다."), ("fr", "Nothing to show.")],
)
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
        KeyValues("T", {}),
        Note("T", " \n"),
    ],
    ids=lambda s: type(s).__name__ if not isinstance(s, str) else s,
)
def test_nothing_to_show(section: Section, lang: str, words: str) -> None:
    page = render(section, lang=lang)
    assert page.texts("p", "empty") == [words]
    assert not page.texts("figure")


def test_languages_are_marked() -> None:
    page = render(Note("제목", "English text"), Note("Title", "한글"), Table("", ["값"], [[1]]))
    marked = {a["lang"]: t for t, a, _ in page.found if a.get("lang") and t in ("h2", "html")}
    assert marked == {"en": "h2", "ko": "h2"}
    assert [a["lang"] for t, a, _ in page.found if t == "html"] == ["en"]
    assert [a["lang"] for t, a, _ in page.found if t == "p" and "lang" in a][1:] == ["en", "ko"]


def test_words_are_the_same_in_every_language() -> None:
    keys = {frozenset(words) for words in markup.WORDS.values()}
    assert len(keys) == 1


def test_contents_lead_to_the_sections() -> None:
    page = render(Headline({"F1": "1"}), *(Note(f"N{i}", "text") for i in range(3)))
    places = {attributes.get("id") for tag, attributes, _ in page.found if tag == "section"}
    links = [attributes["href"] for tag, attributes, _ in page.found if tag == "a"]
    assert len(links) == 3
    assert {link and link[1:] for link in links} <= places


NFD = unicodedata.normalize("NFD", "서울에서 열렸다")
SPANS = [
    ("separate", "one two three four", [(0, 3)], (8, 13), ["one"], ["three"], []),
    ("equal", "one two three", [(4, 7)], (4, 7), [], [], ["two"]),
    ("overlapping", "one two three", [(0, 7)], (4, 13), ["one "], [" three"], ["two"]),
    ("predicted inside", "one two three", [(0, 13)], (4, 7), ["one ", " three"], [], ["two"]),
    ("gold inside", "one two three", [(4, 7)], (0, 13), [], ["one ", " three"], ["two"]),
    ("golds overlap", "one two three", [(0, 7), (4, 13)], None, ["one two three"], [], []),
    ("golds the same", "one two", [(0, 3), (0, 3)], None, ["one"], [], []),
    ("touching", "onetwo", [(0, 3)], (3, 6), ["one"], ["two"], []),
    ("no answer", "one two", [], None, [], [], []),
    ("empty spans", "one two", [(0, 0)], (7, 7), [], [], []),
    ("emoji", "🎉🇰🇷 서울 👩‍👩‍👧 x", [(4, 6)], (6, 13), ["서울"], [" 👩‍👩‍👧 "], []),
    ("decomposed", NFD, [(0, 5)], (0, 9), [], [NFD[5:9]], [NFD[:5]]),
    ("markup", "a<b>&c</b>", [(1, 4)], (4, 5), ["<b>"], ["&"], []),
    ("line ends", "one\ntwo\n", [(3, 4)], (4, 8), ["\n"], ["two\n"], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("context", "gold", "predicted", "in_gold", "in_predicted", "in_both"),
    [case[1:] for case in SPANS],
    ids=[case[0] for case in SPANS],
)
def test_spans_are_marked_exactly(context, gold, predicted, in_gold, in_predicted, in_both) -> None:  # type: ignore[no-untyped-def]
    page = passage(context, gold, predicted)
    assert page.texts("p", "text") == [context]
    legend = 1  # the first mark of each kind explains it
    assert page.texts("mark", "gold")[legend:] == in_gold
    assert page.texts("mark", "predicted")[legend:] == in_predicted
    assert page.texts("mark", "both")[legend:] == in_both


SPAN = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda s: (min(s), max(s)))


@given(st.text(min_size=60, max_size=80), st.lists(SPAN, max_size=4), st.none() | SPAN)
def test_pieces_make_the_text_and_mark_each_character(
    text: str, gold: list[tuple[int, int]], predicted: tuple[int, int] | None
) -> None:
    parts = markup.pieces(text, gold, predicted)
    assert "".join(part.text for part in parts) == text
    kinds = [part.kind for part in parts for _ in part.text]
    for place, kind in enumerate(kinds):
        assert (kind in ("gold", "both")) == any(a <= place < b for a, b in gold)
        inside = predicted is not None and predicted[0] <= place < predicted[1]
        assert (kind in ("predicted", "both")) == inside
    assert all(a.kind != b.kind for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize("span", [(-1, 2), (0, 8), (3, 2)])
def test_spans_outside_the_passage_are_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="outside the passage of 7 characters"):
        Passage("Q?", "one two", [span], None, good=True)
    with pytest.raises(ValueError, match="outside the passage"):
        Passage("Q?", "one two", [], span, good=True)


@pytest.mark.parametrize("place", [0, 1000, 2994])
def test_long_passages_are_shortened_around_the_spans(place: int) -> None:
    context = "word " * 600
    page = passage(context, [(place, place + 4)], None)
    short, whole = page.texts("p", "text")
    assert whole == context
    assert len(short) < 600
    assert page.texts("mark", "gold")[1:] == [context[place : place + 4]] * 2
    assert page.texts("span", "cut")
    assert page.texts("summary") == ["Whole passage"]


def test_what_lies_between_two_spans_is_shortened() -> None:
    context = "word " * 600
    parts = markup.shortened(markup.pieces(context, [(0, 4)], (2990, 2994)))
    assert [part.kind for part in parts] == ["gold", "", "cut", "", "predicted", ""]
    assert sum(len(part.text) for part in parts) < 600


def test_long_passage_without_spans_keeps_its_beginning() -> None:
    context = "가나다 " * 500
    short, whole = passage(context, [], None).texts("p", "text")
    assert whole == context
    assert context.startswith(short.removesuffix(" … "))
    assert 300 < len(short) < 500


def test_shortening_keeps_syllables_whole() -> None:
    context = unicodedata.normalize("NFD", "한" * 600)
    short = markup.shortened(markup.pieces(context, [(900, 903)], None))
    assert [p.kind for p in short] == ["cut", "", "gold", "", "cut"]
    for part in short:
        assert part.kind == "cut" or unicodedata.normalize("NFC", part.text).strip("한") == ""


@pytest.mark.parametrize(
    ("item", "answers", "prediction"),
    [
        (Passage("Q", "one two", [(0, 3), (0, 3), (4, 7)], (4, 7), True), ["one", "two"], "two"),
        (Passage("Q", "one two", [(0, 3)], None, True), ["one"], ""),
        (Passage("Q", "one two", [(0, 3)], (0, 3), True, predicted_text=""), ["one"], ""),
        (Passage("Q", "one two", [(0, 3)], None, True, gold_texts=["1"]), ["1"], ""),
    ],
)
def test_answers(item: Passage, answers: list[str], prediction: str) -> None:
    assert item.answers == answers
    assert item.prediction == prediction
    shown = render(Passages("P", [item])).texts("dd")
    assert shown == ["".join(answers), prediction or "no answer"]


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


# Charts


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "3", True, [1]])
def test_what_cannot_be_drawn(value: object) -> None:
    assert not finite(value)


def test_points_that_are_not_finite_are_left_out_and_counted() -> None:
    rows = [{"x": 0, "y": 1}, {"x": 1, "y": math.nan}, {"x": 2, "y": np.float32("inf")}, {"x": 3}]
    chart = Curves("C", rows, "x", "y")
    assert [p["x"] for p in plots.points(chart)] == [0]
    assert chart.dropped == 2
    page = render(chart, lang="en")
    assert page.texts("p", "note") == ["Left out because not a finite number: 2."]


def test_keys_with_dots_and_brackets_can_be_drawn() -> None:
    chart = Curves("C", [{"eval.f1[0]": 1.0, "a.b": 2, "s'\"": "x"}], "a.b", "eval.f1[0]", "s'\"")
    drawn = plots.spec(chart)
    assert list(drawn["datasets"].values()) == [[{"x": 2.0, "y": 1.0, "series": "x"}]]


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(VALUES, st.integers(6, 60))
def test_thinning_keeps_ends_and_peaks(values: list[float], limit: int) -> None:
    line = [{"x": float(i), "y": y, "series": ""} for i, y in enumerate(values)]
    kept = plots.thin(line, limit)
    assert len(kept) <= limit
    assert [p for p in line if p in kept] == kept
    assert kept[0] == line[0]
    assert kept[-1] == line[-1]
    assert min(p["y"] for p in kept) == min(values)
    assert max(p["y"] for p in kept) == max(values)


def test_long_curves_are_thinned_by_series() -> None:
    rows = [{"x": i, "y": i % 7, "s": name} for i in range(20_000) for name in ("a", "b")]
    chart = Curves("C", rows[::-1], "x", "y", "s")
    drawn = plots.points(chart)
    assert len(drawn) <= 2000
    for name in ("a", "b"):
        xs = [p["x"] for p in drawn if p["series"] == name]
        assert xs == sorted(xs)
        assert (xs[0], xs[-1]) == (0, 19_999)


def test_many_bars_are_all_drawn_also_with_the_same_label() -> None:
    drawn = plots.spec(Bars("B", [{"n": "same", "v": i} for i in range(6000)], "n", "v"))
    (data,) = drawn["datasets"].values()
    assert len({bar["key"] for bar in data}) == 6000


def test_page_charts_take_their_colors_from_the_page() -> None:
    for chart in (EVERYTHING[3], EVERYTHING[4]):
        assert isinstance(chart, Curves | Bars)
        assert "var(--series-1)" in json.dumps(plots.spec(chart))
        static = json.dumps(plots.spec(chart, width=500))
        assert "var(" not in static
        assert "currentColor" not in static


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_register_font", lambda: None)
    chart = Curves("손실", LOSSES, "step", "loss", "run")
    picture = plots.png(chart, tmp_path / "a.png", width=300, scale=1).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert 300 <= int.from_bytes(picture[16:20], "big") <= 330
    drawing = plots.svg(chart, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "실행 1" in drawing


def test_missing_hangul_font_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_FONT_FOLDERS", ())
    plots._register_font.cache_clear()
    chart = Curves("손실", LOSSES, "step", "loss")
    with pytest.warns(UserWarning, match="no font with Hangul"):
        plots._prepare_font(chart)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots._prepare_font(chart)
        plots._prepare_font(Curves("loss", [{"step": 1, "loss": 1}], "step", "loss"))
    plots._register_font.cache_clear()


def test_hangul_font_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font = tmp_path / "deep" / "NotoSansKR-Regular.otf"
    font.parent.mkdir()
    font.touch()
    monkeypatch.setattr(plots, "_FONT_FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    assert plots.hangul_font() == font


# A browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_browser_draws_the_charts_without_a_complaint(tmp_path: Path) -> None:
    path = Report("Report", "", EVERYTHING).write(tmp_path / "report.html")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
        "--enable-logging=stderr", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    seen = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert seen.count("<svg") == 2
    assert "실행 1" in seen
    assert "CONSOLE" not in done.stderr
