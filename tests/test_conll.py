"""Column files: CoNLL-2003, KLUE's, CoNLL-U; what is wrong in them is named with its line."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jeoni.base.errors import UserError
from jeoni.data.conll import conll_records, conllu_records
from jeoni.data.readers import read
from jeoni.data.record import Found, Record

CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""
KLUE = "## id-0\t<나:PS> 가\n나\tB-PS\n \tO\n가\tO\n\n## id-1\t#\n#\tO\n"
CONLLU = """# newdoc
# sent_id = a-1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
2.1\tx\tx\tX\t_\t_\t_\t_\t1:dep\t_
3\tmar\tmar\tNOUN\tN\tGender=Masc|Number=Sing\t1\tobl\t_\tSpaceAfter=No

1\tSí\tsí\tINTJ\tI\t_\t_\t_\t_\t_
"""


def whole(found: Iterable[Found]) -> list[Record]:
    """Records, of which none is wrong."""
    records = []
    for one in found:
        assert isinstance(one, Record)
        records.append(one)
    return records


def wrong(found: Iterable[Found]) -> UserError:
    """The first error."""
    return next(one for one in found if isinstance(one, UserError))


def lines(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.splitlines(keepends=True), 1))


def test_conll2003() -> None:
    first, second = whole(conll_records(lines(CONLL2003), "eng.train"))
    assert first.fields == {
        "tokens": ["EU", "rejects", "German"],
        "tags": ["B-ORG", "O", "B-MISC"],
        "column_2": ["NNP", "VBZ", "JJ"],
        "column_3": ["B-NP", "B-VP", "B-NP"],
    }
    assert first.where == "eng.train, line 3"
    assert second.fields["tags"] == ["B-PER", "I-PER"]


def test_klue_has_blanks_as_tokens() -> None:
    first, second = whole(conll_records(lines(KLUE), "klue.tsv"))
    assert first.fields == {"tokens": ["나", " ", "가"], "tags": ["B-PS", "O", "O"], "id": "id-0"}
    assert second.fields["tokens"] == ["#"]


def test_a_word_may_be_a_comment_s_sign() -> None:
    text = "a O\n## O\n\n## O\nB B-X\n\n## O\n"
    first, second, third = whole(conll_records(lines(text), "x"))
    assert first.fields == {"tokens": ["a", "##"], "tags": ["O", "O"]}
    assert second.fields == {"tokens": ["##", "B"], "tags": ["O", "B-X"]}
    assert third.fields == {"tokens": ["##"], "tags": ["O"]}


@pytest.mark.parametrize("between", ["", "\n"])
def test_a_file_may_begin_with_comments(between: str) -> None:
    first, second = whole(conll_records(lines("## of KLUE\n## v1\n" + between + KLUE), "klue.tsv"))
    assert (first.fields["id"], second.fields["id"]) == ("id-0", "id-1")
    assert first.fields["tokens"] == ["나", " ", "가"]


def test_conllu() -> None:
    first, second = whole(conllu_records(lines(CONLLU), "es.conllu"))
    assert first.fields["tokens"] == ["vamos", "nos", "mar"]
    assert first.fields["upos"] == ["VERB", "PRON", "NOUN"]
    assert first.fields["head"] == [0, 1, 1]
    assert (first.fields["id"], first.fields["text"]) == ("a-1", "vámonos al mar")
    assert second.fields["head"] == [None]
    assert second.line == 10


def test_by_the_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(CONLLU, encoding="utf-8")
    (tmp_path / "a.bio").write_text(CONLL2003, encoding="utf-8")
    (tmp_path / "a.conll").write_text("\n\n")
    assert len(list(read(tmp_path / "a.conllu"))) == 2
    assert len(list(read(tmp_path / "a.bio"))) == 2
    with pytest.raises(UserError, match="no examples"):
        list(read(tmp_path / "a.conll"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EU B-ORG\nrejects\n", r"x, line 2: 1 columns, but 2 in line 1"),
        ("EU\n", r"x, line 1: 1 columns\n"),
        ("\nEU\tNNP\tO\nin\tO\n", r"x, line 3: 2 columns, but 3 in line 2"),
    ],
)
def test_uneven_columns(text: str, message: str) -> None:
    assert re.search(message, str(wrong(conll_records(lines(text), "x"))))


def row(*values: str) -> str:
    return "\t".join([*values, *["_"] * (10 - len(values))]) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# a\n1 a b\n", r"x, line 2: 1 columns, not 10"),
        (row("1", "a") + row("3", "b"), r"x, line 2: word '3' where 2 should be"),
        (row("one", "a"), r"x, line 1: word 'one' where 1"),
        (row("1", "a", "a", "X", "X", "_", "2"), r"x, line 1: head '2' is none of the 1 words"),
        (row("1", "a", "a", "X", "X", "_", "-1"), r"x, line 1: head '-1'"),
    ],
)
def test_broken_conllu(text: str, message: str) -> None:
    assert re.search(message, str(wrong(conllu_records(lines(text), "x"))))


@given(st.text(alphabet="ab1\t .#-_\n가\u3000\f", max_size=60))
def test_nothing_but_our_own_errors(text: str) -> None:
    for reader in (conll_records, conllu_records):
        for found in reader(lines(text), "x"):
            assert isinstance(found, UserError) or found.fields["tokens"]
