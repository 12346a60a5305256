"""Tags: schemes, standard fields, and the way from words or characters to tokens and back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.standard import Columns
from jeoni.data.tags import (
    bio_tags,
    invalid,
    listed_tags,
    of_entities,
    tag_fields,
    tags_of,
    to_bio,
    to_bioes,
)
from jeoni.metrics.entities import entities
from jeoni.tasks._projection import NONE, carriers, to_characters, to_tokens, to_words

IOB1 = ["I-PER", "I-PER", "B-PER", "O", "I-LOC"]
BIO = ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]
BIOES = ["B-PER", "E-PER", "S-PER", "O", "S-LOC"]
any_tags = st.lists(
    st.sampled_from(["O", *(f"{p}-{k}" for p in "BIES" for k in "XY")]), max_size=12
)


@pytest.mark.parametrize("tags", [IOB1, BIO, BIOES])
def test_every_scheme_is_read(tags: list[str]) -> None:
    assert to_bio(tags) == BIO
    assert to_bioes(tags) == BIOES


@given(any_tags)
def test_schemes_say_the_same(tags: list[str]) -> None:
    bio, bioes = to_bio(tags), to_bioes(tags)
    assert entities(bio) == entities(bioes) == entities(tags)
    assert entities(bio, "BIO") == entities(bioes, "BIOES") == entities(tags)
    assert invalid(bio) == invalid(bioes) == 0
    assert to_bio(bioes) == bio


@pytest.mark.parametrize(
    ("tags", "count"),
    [
        (BIO, 0),
        (BIOES, 0),
        (IOB1, 2),
        (["O", "I-X"], 1),
        (["B-X", "I-Y"], 1),
        (["B-X", "O", "S-X"], 1),
        (["B-X", "I-X", "S-X"], 1),
        (["E-X"], 1),
        ([], 0),
    ],
)
def test_tags_that_the_scheme_does_not_allow_are_counted(tags: list[str], count: int) -> None:
    assert invalid(tags) == count


def test_what_tags_there_are() -> None:
    def records(*tags: list[Any]) -> list[Record]:
        return [Record({"tags": t}, "x", n) for n, t in enumerate(tags)]

    assert tags_of(records(["O", "I-b"], ["S-a"])) == ("O", "B-a", "I-a", "B-b", "I-b")
    assert tags_of(records(["NOUN", "O", "B-x"])) == ("B-x", "NOUN", "O")
    assert tags_of(records([0, 3])) == ()
    with pytest.raises(UserError, match="every tag is 'O'"):
        tags_of(records(["O"], ["O"]))
    assert not of_entities(["B-x"])
    assert bio_tags(["a"], "BIOES") == ("O", "B-a", "I-a", "E-a", "S-a")
    assert listed_tags(("a",), "klue_ner") == ("O", "B-a", "I-a")
    assert listed_tags(("NOUN",), "tag_accuracy") == ("NOUN",)


# Standard fields


def fields(values: dict[str, Any], labeled: bool = True, **columns: str) -> dict[str, Any]:
    return tag_fields(Record(values, "my.jsonl", 4), Columns(**columns), labeled)


def test_words_and_characters() -> None:
    words = {"tokens": ["a", "bc"], "tags": ["O", "O"]}
    assert fields(words) == {"id": "4", "text": "a bc", **words}
    assert fields({"tokens": ["a"]}, labeled=False) == {"id": "4", "text": "a", "tokens": ["a"]}
    for given_ in (["a", " ", "b"], "a b"):
        found = fields({"c": given_, "t": [0, 1, 2], "id": 7}, characters="c", tags="t")
        assert found == {"id": "7", "text": "a b", "tags": [0, 1, 2]}
    assert fields({"text": " a  b ", "tags": ["X", "Y"]})["tokens"] == ["a", "b"]
    assert fields({"tokens": ["a"], "upos": ["X"]})["tags"] == ["X"]


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, {}, "2 words, but 1 tags"),
        ({"chars": "abc", "tags": ["O"]}, {"characters": "chars"}, "3 characters, but 1 tags"),
        ({"tokens": "a b", "tags": ["O"]}, {}, "'tokens' is no list of texts"),
        ({"tokens": ["a", 1], "tags": ["O", "O"]}, {}, "'tokens' is no list of texts"),
        ({"tokens": ["a", ""], "tags": ["O", "O"]}, {}, "has an empty text"),
        ({"tokens": [], "tags": []}, {}, "the sentence is empty"),
        ({"tokens": [" "], "tags": ["O"]}, {}, "the sentence is empty"),
        ({"chars": ["ab"], "tags": ["O"]}, {"characters": "chars"}, "'ab' is not one character"),
        ({"tokens": ["a"], "tags": "O"}, {}, "'tags' is no list of tags"),
        ({"tokens": ["a"], "tags": [None]}, {}, "'tags' is no list of tags"),
        ({"tokens": ["a"], "tags": [1.5]}, {}, "'tags' is no list of tags"),
        ({"tokens": ["a"]}, {}, "no column 'tags'"),
        ({"words": ["a"], "tags": ["O"]}, {}, "no column 'tokens'"),
    ],
)
def test_what_is_wrong_is_named(
    values: dict[str, Any], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=f"my.jsonl, line 4: .*{message}"):
        fields(values, **columns)


# To tokens and back


def test_the_first_or_last_token_of_a_word_has_its_tag() -> None:
    words = ["unbreakable", "ab", "c"]
    offsets = np.array([[0, 2], [2, 7], [7, 11], [12, 14], [15, 16]])
    text = " ".join(words)
    assert carriers(text, words, offsets).tolist() == [0, NONE, NONE, 1, 2]
    assert carriers(text, words, offsets, last=True).tolist() == [NONE, NONE, 0, 1, 2]
    units = carriers(text, words, np.array([[0, 11], [12, 12], [15, 16]]))  # "ab" has no token
    assert units.tolist() == [0, NONE, 2]
    assert to_tokens(["X", "Y", "Z"], units) == ["X", "Z"]
    assert to_words(["X", "Z"], units, 3, "O") == ["X", "O", "Z"]


def test_tokens_have_the_tags_of_their_first_characters() -> None:
    """KLUE's way: the rest of an entity's token goes on with it, and so does a blank inside."""
    text = "오에 겐자부로는 작가"
    gold = ["B-P", *["I-P"] * 6, "O", "O", "O", "O"]
    offsets = np.array([[0, 2], [3, 5], [5, 7], [7, 8], [9, 11]])
    units = carriers(text, None, offsets)
    assert units.tolist() == [0, 3, 5, 7, 9]
    tags = to_tokens(gold, units)
    assert tags == ["B-P", "I-P", "I-P", "O", "O"]
    assert to_characters(tags, units, offsets, text, plain=None) == gold
    # A border inside a token is lost: the particle becomes part of the name.
    offsets = np.array([[0, 2], [3, 8], [9, 11]])
    units = carriers(text, None, offsets)
    back = to_characters(to_tokens(gold, units), units, offsets, text, plain=None)
    assert back == [*gold[:7], "I-P", *gold[8:]]


def test_several_tokens_of_one_character() -> None:
    offsets = np.array([[0, 1], [0, 1], [0, 1], [1, 2]])
    units = carriers("가나", None, offsets)
    assert units.tolist() == [0, 0, 0, 1]
    assert to_characters(["B-X", "O", "O", "I-X"], units, offsets, "가나", plain=None) == [
        "B-X",
        "I-X",
    ]
    plain = to_characters(["N", "X", "X", "V"], units, offsets, "가나", plain=["O", "N", "X", "V"])
    assert plain == ["N", "V"]


WORDS = tiny.tokenizer()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_back_is_exact_where_no_border_is_inside_a_token(data: st.DataObject) -> None:
    """Real tokens of a Korean and English tokenizer; entities over whole tokens."""
    text = data.draw(st.sampled_from(tiny.texts()))
    (pieces,) = WORDS.pieces([text])
    gold, place = ["O"] * len(text), 0
    while place < len(pieces):
        end = data.draw(st.integers(place + 1, len(pieces)))
        if data.draw(st.booleans()):
            start, stop = int(pieces.offsets[place, 0]), int(pieces.offsets[end - 1, 1])
            kind = data.draw(st.sampled_from("XY"))
            gold[start:stop] = [f"B-{kind}", *[f"I-{kind}"] * (stop - start - 1)]
        place = end
    units = carriers(text, None, pieces.offsets)
    tags = to_tokens(gold, units)
    assert to_characters(tags, units, pieces.offsets, text, plain=None) == gold


def test_a_text_that_is_mostly_blank_takes_no_longer() -> None:
    text = "a" + 100_000 * " " + "b"
    offsets = np.array([[0, 1], [100_001, 100_002]])
    units = np.array([0, 100_001])
    whole = to_characters(["B-X", "I-X"], units, offsets, text, plain=None)
    assert whole == ["B-X", *["I-X"] * 100_001]
    apart = to_characters(["B-X", "B-X"], units, offsets, text, plain=None)
    assert apart == ["B-X", *["O"] * 100_000, "B-X"]
