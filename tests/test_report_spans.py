"""Passages in a report: spans marked exactly, long ones shortened around them."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jeoni.report import markup
from jeoni.report.page import Report
from jeoni.report.sections import (
    Marked,
    MarkedText,
    Passage,
    Passages,
    Section,
    Text,
    Texts,
)
from report_page import passage, render

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
    assert page.texts("summary") == ["Whole text"]


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
    ],
)
def test_answers(item: Passage, answers: list[str], prediction: str) -> None:
    assert item.answers == answers
    assert item.prediction == prediction
    shown = render(Passages("P", [item])).texts("dd")
    assert shown == ["".join(answers), prediction or "no answer"]


def test_texts_of_megabytes_are_not_shown_whole() -> None:
    long = "말 " * 1_000_000
    spans = [(place, place + 1, "X") for place in range(0, 600_000, 3)]
    answers = Passage("who? " * 200_000, long, [(0, 900_000)], (5, 800_000), good=False)
    sections: list[Section] = [
        Passages("passages", [answers]),
        Marked("marked", [MarkedText(long, spans, [], good=False)]),
        Texts("texts", [Text(long, "a", "b", good=False)]),
    ]
    assert len(Report("title", "", sections).html()) < 500_000


def test_texts_that_fit_are_shown_whole() -> None:
    text = "a b " * 1000
    assert markup.clipped(text) == text
    assert len(markup.clipped(text * 2)) <= markup.LONGEST + 2
