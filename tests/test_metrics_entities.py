"""Entity scores against seqeval, conlleval and KLUE's baseline, by hand, and properties."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.counts import total
from jeoni.metrics.entities import (
    character_tags,
    entities,
    entity_scores,
    klue_ner,
    surface_forms,
)
from metric_cases import cases, same

PARTS = ("precision", "recall", "f1")


@pytest.mark.parametrize("case", cases("ner_conll"))
def test_equals_seqeval_and_conlleval(case: dict[str, Any]) -> None:
    references, predictions = case["references"], case["predictions"]
    if "expected_error" in case:
        with pytest.raises(ValueError, match=r"in the reference|references but"):
            entity_scores(references, predictions)
        return
    # Well-formed IOB1 has the same entities in both of seqeval's modes.
    strict = {"BIO": "BIO", "BIOES": "BIOES", "IOB1": None}[case["scheme"]]
    for mode, scheme in (("default", None), ("strict", strict)):
        expected = case["expected"][mode]
        result = entity_scores(references, predictions, scheme)
        names = [n for n in expected if n.removeprefix("macro_") in PARTS or n == "accuracy"]
        same(result.as_dict(), {name: expected[name] for name in names})
        report = {k: v for k, v in expected["report"].items() if not k.endswith(" avg")}
        assert list(result.by_type) == sorted(report)
        for kind, row in report.items():
            counts = result.by_type[kind]
            same(
                [counts.precision, counts.recall, counts.f1, counts.gold],
                [row["precision"], row["recall"], row["f1-score"], row["support"]],
            )
        assert total(result.per_sentence) == total(result.by_type.values())
        for name, side in (("reference", references), ("predicted", predictions)):
            if listed := expected.get(f"{name}_entities"):
                assert [[list(e) for e in entities(tags, scheme)] for tags in side] == listed


@pytest.mark.parametrize("case", cases("ner_conll"))
def test_counts_equal_conlleval(case: dict[str, Any]) -> None:
    official = case.get("expected", {}).get("conlleval")
    if official is None:
        return
    result = entity_scores(case["references"], case["predictions"])
    ours = {
        kind: {"correct": counts.right, "gold": counts.gold, "found": counts.predicted}
        for kind, counts in result.by_type.items()
    }
    assert ours == official["per_type"]
    assert round(100 * result.accuracy, 2) == official["accuracy_percent_2dp"]


@pytest.mark.parametrize("case", cases("klue_ner"))
def test_equals_klue(case: dict[str, Any]) -> None:
    official, corrected = case["expected"]["as_is"], case["expected"]["corrected"]
    if case["kind"] == "characters":
        references = gold = case["references"]
        predictions = found = case["predictions"]
        ends = case["cls_sep_predictions"]
    else:  # what the official conversion of subword tags makes of them, faults included
        sentences = case["sentences"]
        gold, found = [], []
        references = [s["expected"]["as_is_references"][1:-1] for s in sentences]
        raw = [s["expected"]["as_is_characters"] for s in sentences]
        predictions, ends = [tags[1:-1] for tags in raw], [(tags[0], tags[-1]) for tags in raw]
        for sentence in sentences:
            gold.append(sentence["references"])
            found.append(sentence["expected"]["corrected_characters"])
    same(klue_ner(references, predictions, ends=ends), official, 100)
    names = [name for name in corrected if name != "char_per_label_f1"]
    same(klue_ner(gold, found), {name: corrected[name] for name in names}, 100)


@pytest.mark.parametrize(
    "case", [c for c in cases("klue_ner") if "subwords" in str(c.id)] or [None]
)
def test_character_tags_as_klue_means_them(case: dict[str, Any] | None) -> None:
    if case is None:
        pytest.skip("no fixtures")
    for sentence in case["sentences"]:
        spans, start = [], 0
        for word in sentence["words"]:
            spans += [(start + a, start + b) for a, b in word["char_spans"]]
            start += len(word["word"])
        kept = spans[: case["max_seq_length"] - 2]
        tags = sentence["subword_predictions"][1 : 1 + len(kept)]
        assert character_tags(tags, kept, start) == sentence["expected"]["corrected_characters"]


@pytest.mark.parametrize(
    ("tags", "scheme", "found"),
    [
        ("O I-PER I-PER O", None, [("PER", 1, 2)]),
        ("O I-PER I-PER O", "BIO", []),
        ("B-PER I-LOC", None, [("PER", 0, 0), ("LOC", 1, 1)]),
        ("B-PER I-LOC", "BIO", [("PER", 0, 0)]),
        ("B-PER B-PER I-PER", "BIO", [("PER", 0, 0), ("PER", 1, 2)]),
        ("B-PER I-PER O", "BIOES", []),
        ("S-PER B-LOC I-LOC E-LOC", "BIOES", [("PER", 0, 0), ("LOC", 1, 3)]),
        ("B-PER E-PER I-PER", None, [("PER", 0, 1), ("PER", 2, 2)]),
        ("S-PER I-PER", None, [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-creative-work I-creative-work", None, [("creative-work", 0, 1)]),
        ("", None, []),
    ],
)
def test_entities(tags: str, scheme: str | None, found: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split(), scheme) == found


def test_by_hand() -> None:
    result = entity_scores(
        [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC"]], [["B-PER", "I-PER", "O", "O"], ["B-PER"]]
    )
    assert result.as_dict() == pytest.approx(
        {
            "precision": 1 / 2,
            "recall": 1 / 3,
            "f1": 2 / 5,
            "macro_precision": 1 / 4,
            "macro_recall": 1 / 2,
            "macro_f1": (2 / 3 + 0) / 2,
            "accuracy": 3 / 5,
        }
    )


def test_without_entities_means_over_types_are_nan() -> None:
    scores = entity_scores([["O"]], [["O"]]).as_dict()
    assert scores["f1"] == 0
    assert math.isnan(scores["macro_f1"])


def test_klue_counts_o_and_so_rewards_finding_nothing() -> None:
    scores = klue_ner([["B-PS", "I-PS", "O"]], [["O", "O", "O"]], types=["PS"])
    assert scores["char_macro_f1_without_O"] == 0
    # O: 3 right of 5 predicted ([CLS] and [SEP] too) and 3 there.
    assert scores["char_macro_f1"] == pytest.approx(2 * 3 / 8 / 3)


def test_klue_gives_labels_that_occur_nowhere_a_perfect_score() -> None:
    scores = klue_ner([["B-PS"]], [["B-PS"]], types=["PS", "LC"])
    assert scores["char_macro_f1"] == scores["char_macro_f1_without_O"] == 1
    assert scores["char_macro_f1_without_O_absent_0"] == 1 / 4
    tagged = klue_ner([["B-PS"]], [["B-PS"]], types=["PS"], ends=[("B-PS", "O")])
    assert tagged["entity_macro_f1"] == pytest.approx(2 / 3)
    assert tagged["char_macro_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert tagged["char_macro_f1_without_O"] == 1


def test_characters_continue_the_tag_of_their_piece() -> None:
    tags = character_tags(["O", "B-PS", "I-LC", "O"], [None, (0, 2), (3, 5), (5, 6)], 7)
    assert tags == ["B-PS", "I-PS", "O", "I-LC", "I-LC", "O", "O"]


def test_a_name_counts_once_among_surface_forms() -> None:
    words = [["Kim", "met", "Lee"], ["Kim", "left"]]
    gold = [["B-person", "O", "B-person"], ["B-person", "O"]]
    counts = surface_forms(words, gold, [["B-person", "O", "O"], ["B-person", "B-person"]])
    assert counts.as_tuple() == (1, 2, 2)


TAGS = st.lists(
    st.sampled_from(["O", *(f"{p}-{t}" for p in "BIES" for t in ("X", "Y"))]), max_size=8
)


@settings(max_examples=100, deadline=None)
@given(TAGS)
def test_entities_are_in_order_and_strict_ones_are_among_all(tags: list[str]) -> None:
    found = entities(tags)
    assert all(a[2] < b[1] for a, b in pairwise(found))
    covered = {i for _, a, b in found for i in range(a, b + 1)}
    assert covered == {i for i, tag in enumerate(tags) if tag != "O"}
    for scheme in ("BIO", "BIOES"):
        assert set(entities(tags, scheme)) <= set(found)


@settings(max_examples=50, deadline=None)
@given(st.lists(TAGS, min_size=1, max_size=4))
def test_a_tagging_predicts_itself(sentences: list[list[str]]) -> None:
    result = entity_scores(sentences, sentences)
    assert result.as_dict()["f1"] == float(any(entities(tags) for tags in sentences))


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "no sentence"),
        ([["O"]], [], "1 references but 0 predictions"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], "sentence 1: 2 tags in the reference, 1"),
        ([["O"], ["O"]], [["O"], ["PER"]], "sentence 1: tag 0 is 'PER'"),
        ([["B"]], [["O"]], "tag 0 is 'B'"),
    ],
)
def test_refuses(references: Any, predictions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entity_scores(references, predictions)


def test_refuses_what_is_unknown() -> None:
    with pytest.raises(ValueError, match="scheme 'IOB'"):
        entities([], "IOB")
    with pytest.raises(ValueError, match="'B-XX', not one of B-PS"):
        klue_ner([["O"]], [["B-XX"]])
    with pytest.raises(ValueError, match="2 tags but 1 spans"):
        character_tags(["O", "O"], [(0, 1)], 2)
    with pytest.raises(ValueError, match="piece 0 has characters 0 to 3 of 2"):
        character_tags(["O"], [(0, 3)], 2)
    with pytest.raises(ValueError, match="sentence 0"):
        surface_forms([["a", "b"]], [["O"]], [["O"]])
