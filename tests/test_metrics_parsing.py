"""Attachment scores against KLUE's baseline and the CoNLL 2018 script, and by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.parsing import Tree, attachment_scores, attachments, klue_dp
from jeoni.metrics.universal import conll18
from metric_cases import cases, same


def trees(rows: list[dict[str, Any]]) -> list[Tree]:
    return [Tree(row["heads"], row["deprels"]) for row in rows]


@pytest.mark.parametrize("case", cases("klue_dp"))
def test_equals_klue(case: dict[str, Any]) -> None:
    references, predictions = trees(case["references"]), trees(case["predictions"])
    scores = klue_dp(references, predictions, case["label_list"])
    corrected = dict(case["expected"]["corrected"])
    words = sum(row[0] for row in attachments(references, predictions))
    assert words == corrected.pop("tokens")
    same(scores, case["expected"]["as_is"], 100)
    ours = {
        "las_macro_f1_without_wrong_head_class": scores["las_macro_f1_without_wrong_head_class"],
        "uas_accuracy": scores["uas_micro_f1"],
        "las_accuracy_rare_labels_merged": scores["las_micro_f1"],
        "las_accuracy_exact_labels": scores["las"],
    }
    same(ours, corrected, 100)
    assert ours.keys() == corrected.keys()


@pytest.mark.parametrize("case", cases("ud_conll18"))
def test_equals_conll18(case: dict[str, Any]) -> None:
    if "expected_error" in case:
        with pytest.raises(ValueError, match=r"line \d+|differ from character|empty line"):
            conll18(case["gold_conllu"], case["system_conllu"])
        return
    scores = conll18(case["gold_conllu"], case["system_conllu"])
    assert scores.keys() == case["expected"].keys()
    for name, official in case["expected"].items():
        figure = scores[name]
        counts = figure.counts
        ours = {
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
            "aligned_accuracy": figure.aligned_accuracy,
            "correct": counts.right,
            "gold_total": counts.gold,
            "system_total": counts.predicted,
            "aligned_total": figure.aligned,
        }
        same(ours, official)


def conllu(*rows: tuple[str, int, str]) -> str:
    lines = (
        f"{i}\t{form}\t_\tX\t_\t_\t{head}\t{relation}\t_\t_\n"
        for i, (form, head, relation) in enumerate(rows, 1)
    )
    return "".join(lines) + "\n"


def test_conll18_by_hand() -> None:
    gold = conllu(("나는", 2, "nsubj"), ("간다", 0, "root"), (".", 2, "punct"))
    system = conllu(("나", 3, "nsubj"), ("는", 1, "case"), ("간다", 0, "root"), (".", 1, "punct"))
    scores = conll18(gold, system)
    assert scores["Words"].counts.as_tuple() == (2, 4, 3)
    assert scores["LAS"].counts.as_tuple() == (1, 4, 3)  # the root; the full stop has another head
    assert scores["LAS"].aligned_accuracy == 1 / 2
    assert scores["CLAS"].counts.as_tuple() == (1, 2, 2)
    assert scores["Tokens"].aligned_accuracy is None


def test_conll18_aligns_words_of_one_token_by_their_forms() -> None:
    def word(i: str, form: str, lemma: str, head: str, relation: str) -> str:
        return "\t".join([i, form, lemma, "X", "_", "_", head, relation, "_", "_"]) + "\n"

    token = "1-3\tdunno" + "\t_" * 8 + "\n"
    gold = token + word("1", "do", "do", "3", "aux:neg") + word("2", "not", "_", "3", "advmod")
    gold += word("3", "know", "know", "0", "root") + word("4", "it", "it", "3", "obj") + "\n"
    system = "1-2\tdunno" + "\t_" * 8 + "\n" + word("1", "Not", "no", "2", "advmod")
    system += word("2", "know", "knew", "0", "root") + word("3", "it", "it", "2", "obj:x") + "\n"
    scores = conll18(gold, system)
    assert scores["Words"].counts.as_tuple() == (3, 3, 4)  # not, know, it
    assert scores["Tokens"].counts.as_tuple() == (2, 2, 2)
    assert scores["UAS"].counts.right == scores["LAS"].counts.right == 3
    assert scores["Lemmas"].counts.right == 2  # where gold has none, any is right
    assert scores["CLAS"].counts.as_tuple() == (3, 3, 3)
    assert scores["MLAS"].counts.right == 2  # the verb lacks its auxiliary
    assert scores["BLEX"].counts.right == 2
    assert conll18(system, gold)["Words"].counts.as_tuple() == (3, 4, 3)


def test_klue_takes_rare_relations_for_one() -> None:
    names = [f"R{i}" for i in range(18)]
    gold = [Tree([0, 1, 1], ["R14", "R15", "R17"])]
    scores = klue_dp(gold, [Tree([0, 1, 1], ["R15", "R16", "R17"])], names)
    assert (scores["las"], scores["las_micro_f1"]) == (1 / 3, 2 / 3)


def test_attachment_by_hand() -> None:
    gold = [Tree([2, 0, 2], ["a", "root", "b"]), Tree([0], ["root"])]
    found = [Tree([2, 0, 1], ["b", "root", "b"]), Tree([0], ["root"])]
    assert attachment_scores(gold, found) == {"uas": 3 / 4, "las": 2 / 4}
    assert attachments(gold, found) == [(3, 2, 1), (1, 1, 1)]


def test_one_wrong_head_costs_klue_a_class() -> None:
    gold = [Tree([2, 0], ["NP", "VP"])] * 50
    found = [Tree([0, 0], ["NP", "VP"]), *gold[1:]]
    scores = klue_dp(gold, found, ["NP", "VP"])
    assert scores["las"] == 99 / 100
    assert scores["las_macro_f1"] == pytest.approx((98 / 99 + 1 + 0) / 3)
    assert scores["las_macro_f1_without_wrong_head_class"] == pytest.approx((98 / 99 + 1) / 2)


WORDS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"])), min_size=3, max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_las_is_at_most_uas(pairs: list[Any]) -> None:
    gold, found = (
        [Tree([h for h, _ in pair[side]], [r for _, r in pair[side]]) for pair in pairs]
        for side in (0, 1)
    )
    scores = attachment_scores(gold, found)
    assert 0 <= scores["las"] <= scores["uas"] <= 1
    klue = klue_dp(gold, found, ["a", "b"])
    assert (klue["uas_micro_f1"], klue["las_micro_f1"]) == (scores["uas"], scores["las"])
    assert attachment_scores(gold, gold) == {"uas": 1, "las": 1}


CUTS = st.lists(st.booleans(), min_size=7, max_size=7)


@settings(max_examples=60, deadline=None)
@given(CUTS, CUTS)
def test_any_two_cuts_of_a_text_align_where_they_agree(a: list[bool], b: list[bool]) -> None:
    def words(cuts: list[bool]) -> list[str]:
        marked = "".join(c + " " * cut for c, cut in zip("abcdefg", cuts, strict=True)) + "h"
        return marked.split()

    def spans(forms: list[str]) -> set[tuple[int, int]]:
        ends = [sum(map(len, forms[: i + 1])) for i in range(len(forms))]
        return {(end - len(form), end) for form, end in zip(forms, ends, strict=True)}

    def text(forms: list[str]) -> str:
        return conllu(*((form, i, "dep" if i else "root") for i, form in enumerate(forms)))

    ours, theirs = words(a), words(b)
    scores = conll18(text(ours), text(theirs))
    common = len(spans(ours) & spans(theirs))
    assert scores["Words"].counts.as_tuple() == (common, len(theirs), len(ours))
    assert scores["UAS"].counts.right <= common


@pytest.mark.parametrize(
    ("gold", "found", "message"),
    [
        ([], [], "no sentence"),
        ([Tree([], [])], [Tree([], [])], "no word"),
        ([Tree([0], ["a"])], [Tree([0, 1], ["a", "a"])], "sentence 0: 1 heads"),
        ([Tree([0], ["a"])], [Tree([0], [])], "sentence 0: 1 heads or relations"),
        ([Tree([0], ["a"])], [Tree([2], ["a"])], "sentence 0, word 1: head 2 of 1"),
    ],
)
def test_refuses(gold: list[Tree], found: list[Tree], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attachment_scores(gold, found)


def test_refuses_an_unknown_relation() -> None:
    with pytest.raises(ValueError, match="sentence 0: unknown relation 'b'"):
        klue_dp([Tree([0], ["a"])], [Tree([0], ["b"])], ["a"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (conllu(("a", 2, "x"), ("b", 1, "x")), "line 3: there is a cycle"),
        (conllu(("a", 0, "root"), ("b", 0, "root")), "line 3: the sentence .* has 2 roots"),
        (conllu(("a", 5, "x")), "head 5 .line 1. is outside"),
        (conllu(("a", 0, "root")).rstrip("\n"), "does not end with an empty line"),
        (conllu((" ", 0, "root")), "line 1: the form is empty"),
        ("2" + conllu(("a", 0, "root"))[1:], "line 1: the number is '2', not 1"),
        ("1\ta\n\n", "line 1: 2 columns"),
        ("1-x\ta" + "\t_" * 8 + "\n\n", "line 1: the number is '1-x'"),
        (conllu(("b", 0, "root")), "differ from character 0"),
        (conllu(("aa", 0, "root")), "differ from character 1"),
    ],
)
def test_refuses_conllu(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conll18(conllu(("a", 0, "root")), text)
