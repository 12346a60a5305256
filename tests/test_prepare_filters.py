"""What ``jeoni data prepare`` drops, and what it says about it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from jeoni.base.errors import UserError
from jeoni.data.prepare import duplicates
from jeoni.data.prepare.normal import normal
from jeoni.data.prepare.sketches import SIZE, Sketcher, rows, similar

ENGLISH = "The harbor was quiet in winter, and seven letters lay on the table of the old keeper."
KOREAN = "한국어를 배우는 사람은 학교에서 음식을 먹고 도서관에 갔다가 저녁에 집으로 돌아왔다."


def write(path: Path, *texts: str) -> Path:
    path.write_text("\n\n".join(texts))
    return path


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dropped(done: Any) -> dict[str, int]:
    return {reason: entry["documents"] for reason, entry in done.facts["dropped"].items()}


def test_scores(tmp_path: Path) -> None:
    """GPT-2's filter: at least 3, by default, where there is a score."""
    rows = [{"text": f"the {word}", "score": n} for n, word in enumerate(corpora.WORDS[:6])]
    path = jsonl(tmp_path / "a.jsonl", *rows, {"text": "other"}, {"text": "no", "score": None})
    done = corpora.run(tmp_path / "out", path, held_out=0)
    assert corpora.texts_of(done) == [f"the {word}" for word in corpora.WORDS[3:6]] + ["other"]
    assert dropped(done) == {"score": 4}
    examples = done.facts["dropped"]["score"]["examples"]
    assert [(e["line"], e["score"]) for e in examples] == [(1, 0), (2, 1), (3, 2)]
    assert examples[1]["text"] == rows[1]["text"]
    lower = corpora.run(tmp_path / "lower", path, held_out=0, min_score=1.5)
    assert dropped(lower) == {"score": 3}
    none = corpora.run(tmp_path / "none", path, held_out=0, score_column=None)
    assert dropped(none) == {}


def test_lengths(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "the end", "the", "the other cafeteria", "!!! ...")
    done = corpora.run(tmp_path / "out", path, held_out=0, min_characters=4, max_characters=10)
    assert corpora.texts_of(done) == ["the end"]
    assert dropped(done) == {"long": 1, "short": 1, "no letters": 1}
    assert done.facts["dropped"]["long"]["examples"] == [
        {"file": str(path), "line": 5, "text": "the other cafeteria"}
    ]


def test_languages(tmp_path: Path) -> None:
    pytest.importorskip("py3langid", reason="the extra 'corpus' is not installed")
    german = "Der Leuchtturmwärter hatte sieben Briefe auf den alten Tisch gelegt und war gegangen."
    path = write(
        tmp_path / "a",
        KOREAN,
        ENGLISH,
        german,
        "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ",
        "네",
    )
    one = corpora.run(tmp_path / "one", path, held_out=0, languages=["ko"])
    assert dropped(one) == {"language en": 1, "language de": 1}
    both = corpora.run(tmp_path / "both", path, held_out=0, languages=["ko", "en"])
    assert dropped(both) == {"language de": 1}
    with pytest.raises(UserError, match="no language with the code 'korean'"):
        corpora.run(tmp_path / "wrong", path, languages=["korean"])


def test_exact_copies(tmp_path: Path) -> None:
    """The same letters and digits are a copy; the first is kept."""
    path = write(tmp_path / "a", "the end.", "the other", "the - end", "the  end!!", "theend\nwho")
    done = corpora.run(tmp_path / "out", path, held_out=0)
    assert corpora.texts_of(done) == ["the end.", "the other", "theend who"]
    assert dropped(done) == {"copy": 2}
    (first, _) = done.facts["dropped"]["copy"]["examples"]
    assert (first["line"], first["of"]["line"]) == (5, 1)
    assert (first["text"], first["of"]["text"]) == ("the - end", "the end.")
    kept = corpora.run(tmp_path / "kept", path, held_out=0, duplicates="keep")
    assert dropped(kept) == {}


def test_copies_in_other_files_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = corpora.documents(60)
    first = write(tmp_path / "a", corpora.plain(texts))
    second = write(tmp_path / "b", corpora.plain(texts[10:30] + corpora.documents(5, seed=1)))
    done = corpora.run(tmp_path / "out", first, second, held_out=0)
    assert dropped(done) == {"copy": 20}
    assert done.facts["kept"]["train"]["documents"] == 65
    monkeypatch.setattr(duplicates, "_PASS", 7)
    passes = corpora.run(tmp_path / "passes", first, second, held_out=0)
    assert corpora.contents(done.folder) == corpora.contents(passes.folder)


def near_texts() -> list[str]:
    """A long text, one with a word changed, one with half of it changed, and another."""
    words = [
        word for lines in corpora.documents(20, seed=3) for line in lines for word in line.split()
    ]
    other = [
        word for lines in corpora.documents(20, seed=4) for line in lines for word in line.split()
    ]
    changed = [*words[:100], "changed", *words[101:200]]
    return [
        " ".join(part)
        for part in (words[:200], changed, [*words[:100], *other[:100]], other[100:300])
    ]


def test_near_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rensa", reason="the extra 'corpus' is not installed")
    path = write(tmp_path / "a", *near_texts(), near_texts()[3] + " end")
    exact = corpora.run(tmp_path / "exact", path, held_out=0)
    assert dropped(exact) == {}
    done = corpora.run(tmp_path / "near", path, held_out=0, duplicates="near")
    assert dropped(done) == {"near copy": 2}
    examples = done.facts["dropped"]["near copy"]["examples"]
    assert [(e["line"], e["of"]["line"]) for e in examples] == [(3, 1), (9, 7)]
    loose = corpora.run(tmp_path / "loose", path, held_out=0, duplicates="near", similarity=0.3)
    assert dropped(loose) == {"near copy": 3}
    monkeypatch.setattr(duplicates, "_PASS", 2)
    passes = corpora.run(tmp_path / "passes", path, held_out=0, duplicates="near")
    assert corpora.contents(done.folder) == corpora.contents(passes.folder)


def test_similarity_is_estimated() -> None:
    """Against the exact Jaccard similarity of the stretches; 0.045 is one standard deviation at most."""
    pytest.importorskip("rensa", reason="the extra 'corpus' is not installed")
    texts = near_texts()

    def stretches(text: str) -> set[bytes]:
        data = normal([text]).data
        begins = [n for n, byte in enumerate(data) if byte & 0xC0 != 0x80]
        return {data[n : n + 16] for n in begins if n + 16 <= len(data)}

    sketches, keys = Sketcher(0.8).sketch(normal(texts))
    assert sketches.shape == (4, SIZE)
    assert keys.shape == (SIZE // rows(0.8), 4)
    for i in range(4):
        for j in range(i):
            one, other = stretches(texts[i]), stretches(texts[j])
            exact = len(one & other) / len(one | other)
            assert abs(similar(sketches[i : i + 1], sketches[j : j + 1])[0] - exact) < 4 * 0.045


def test_a_sketch_does_not_depend_on_its_neighbors() -> None:
    pytest.importorskip("rensa", reason="the extra 'corpus' is not installed")
    texts = ["the end of it", "한", "짧은 글", *near_texts()]
    together, keys = Sketcher(0.8).sketch(normal(texts))
    for number, text in enumerate(texts):
        alone, key = Sketcher(0.8).sketch(normal([text]))
        assert np.array_equal(alone[0], together[number]), text
        assert np.array_equal(key[:, 0], keys[:, number])


@pytest.mark.parametrize(("similarity", "expected"), [(0.3, 2), (0.6, 4), (0.8, 8), (0.95, 16)])
def test_bands(similarity: float, expected: int) -> None:
    """Pairs of the similarity that is asked for meet in a band nine times of ten."""
    assert rows(similarity) == expected
    assert 1 - (1 - similarity**expected) ** (SIZE // expected) > 0.89


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
@settings(deadline=None)
def test_normal_text_is_letters_and_digits(texts: list[str]) -> None:
    import unicodedata

    found = normal(texts)
    assert len(found.bounds) == len(texts) + 1
    for number, text in enumerate(texts):
        form = unicodedata.normalize("NFKC", text)
        # A final sigma looks at its neighbors; texts are lowered together.
        expected = "".join(filter(str.isalnum, form.lower())).replace("ς", "σ")
        data = found.data[found.bounds[number] : found.bounds[number + 1]]
        assert data.decode().replace("ς", "σ") == expected


@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("rensa", {"duplicates": "near"}),
        ("py3langid.langid", {"languages": ["ko"]}),
        ("kiwipiepy", {"split_sentences": "ko"}),
        ("sentencex", {"split_sentences": "en"}),
    ],
)
def test_without_the_extra(
    library: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs a library says so; the rest works, and the folder can be used for it."""
    from jeoni.text import sentences

    sentences._korean.cache_clear()
    sentences._english.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    path = write(tmp_path / "a", KOREAN, ENGLISH)
    with pytest.raises(UserError, match=rf"needs {library.split('.')[0]}.*\n.*jeoni\[corpus\]"):
        corpora.run(tmp_path / "out", path, **options)
    assert corpora.run(tmp_path / "out", path, held_out=0).facts["kept"]["train"]["documents"] == 2


def test_everything_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "a", "!!")
    with pytest.raises(
        UserError, match=r"no document is left over: no letters: 1, short: 1\n.*--help"
    ):
        corpora.run(tmp_path / "out", path, min_characters=2)


def test_the_page_says_it_all(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "the end", "the end!", "the <other> cafeteria", "&")
    done = corpora.run(tmp_path / "out", path, held_out=0, max_characters=12)
    page = (done.folder / "report.html").read_text()
    for part in ("the &lt;other&gt; cafeteria", "Dropped: copy", "neither a letter nor a digit"):
        assert part in page
