"""The SQuAD sample that the package carries, and the script that cuts it."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jeoni
from jeoni.base.files import read_json

SAMPLES = Path(jeoni.__file__).parent / "data" / "samples"
ROOT = Path(__file__).parents[1]
SOURCE = ROOT.parent / "shared" / "data" / "squad"
NAMES = ("train", "dev")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_squad_sample", ROOT / "scripts" / "make_squad_sample.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    return {name: read_json(SAMPLES / f"squad-sample-{name}.json.zst") for name in NAMES}


def questions(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph["context"], question


@pytest.mark.parametrize(("name", "count", "articles"), [("train", 4000, 373), ("dev", 500, 48)])
def test_counts(samples: dict[str, Any], name: str, count: int, articles: int) -> None:
    document = samples[name]
    ids = [question["id"] for _, question in questions(document)]
    assert document["version"] == "1.1"
    assert len(ids) == len(set(ids)) == count
    assert len({article["title"] for article in document["data"]}) == articles
    assert len(document["data"]) == articles


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_stands_at_its_offset(samples: dict[str, Any], name: str) -> None:
    for context, question in questions(samples[name]):
        assert question["question"].strip()
        assert question["answers"]
        for answer in question["answers"]:
            start = answer["answer_start"]
            assert answer["text"]
            assert context[start : start + len(answer["text"])] == answer["text"], question["id"]


@pytest.mark.parametrize("name", NAMES)
def test_no_ambiguous_offset(samples: dict[str, Any], name: str) -> None:
    for _, question in questions(samples[name]):
        assert set(question) == {"id", "question", "answers"}


def test_train_and_dev_share_nothing(samples: dict[str, Any]) -> None:
    train, dev = (samples[name] for name in NAMES)
    assert not {a["title"] for a in train["data"]} & {a["title"] for a in dev["data"]}
    assert not {c for c, _ in questions(train)} & {c for c, _ in questions(dev)}


def test_training_passages_are_short_and_many(samples: dict[str, Any]) -> None:
    for article in samples["train"]["data"]:
        for paragraph in article["paragraphs"]:
            assert len(paragraph["context"].split()) <= 80
            assert 1 <= len(paragraph["qas"]) <= 3


def test_size_and_licence_travel_with_the_package() -> None:
    files = [SAMPLES / f"squad-sample-{name}.json.zst" for name in NAMES]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    for text in ((SAMPLES / "README.md").read_text(), (ROOT / "NOTICE").read_text()):
        for needed in ("CC BY-SA 4.0", "rajpurkar/SQuAD-explorer", "Rajpurkar", "inferred"):
            assert needed in text


def article(title: str, *, paragraphs: int, qas: int, words: int = 5) -> dict[str, Any]:
    """An article in which every third question is ambiguous."""
    return {
        "title": title,
        "paragraphs": [
            {
                "context": " ".join(["word"] * words),
                "qas": [
                    {
                        "id": f"{title}-{p}-{q}",
                        "question": "?",
                        "answers": [{"text": "word", "answer_start": 0}],
                        **({"answer_start_ambiguous": True} if q % 3 == 2 else {}),
                    }
                    for q in range(qas)
                ],
            }
            for p in range(paragraphs)
        ],
    }


@given(seed=st.integers(0, 100), count=st.integers(0, 36), per_paragraph=st.integers(1, 4))
def test_training_choice_takes_turns(seed: int, count: int, per_paragraph: int) -> None:
    articles = [article(t, paragraphs=3, qas=6) for t in "abc"]
    articles.append(article("long", paragraphs=9, qas=6, words=11))
    possible = 9 * min(per_paragraph, 4)
    options = {"per_paragraph": per_paragraph, "max_words": 10, "seed": seed}
    if count > possible:
        with pytest.raises(SystemExit, match=f"only {possible} "):
            script.choose_train(articles, count=count, **options)
        return
    chosen = script.choose_train(articles, count=count, **options)
    assert len(chosen) == count
    assert not any(id.startswith("long") or id[-1] in "25" for id in chosen)
    passages = [len({id[:-2] for id in chosen if id[0] == t}) for t in "abc"]
    assert max(passages) - min(passages) <= 1


@given(seed=st.integers(0, 100), count=st.integers(8, 80))
def test_held_out_choice_gives_every_article_its_share(seed: int, count: int) -> None:
    articles = [article("a", paragraphs=15, qas=6), article("b", paragraphs=5, qas=6)]
    chosen = script.choose_dev(articles, count=count, seed=seed)
    assert len(chosen) == count
    assert not any(id[-1] in "25" for id in chosen)
    assert sum(id[0] == "a" for id in chosen) == pytest.approx(0.75 * count, abs=1)


def test_choice_depends_on_the_seed() -> None:
    articles = [article("a", paragraphs=9, qas=6)]
    choices = {frozenset(script.choose_dev(articles, count=6, seed=s)) for s in (0, 0, 1)}
    assert len(choices) == 2


def test_cut_keeps_order_and_drops_what_is_empty() -> None:
    document = {"version": "1.1", "data": [article(t, paragraphs=2, qas=2) for t in "ab"]}
    result = script.cut(document, {"b-1-1", "b-1-0"})
    assert [q["id"] for _, q in questions(result)] == ["b-1-0", "b-1-1"]
    assert [a["title"] for a in result["data"]] == ["b"]
    assert len(result["data"][0]["paragraphs"]) == 1
    assert len(list(questions(document))) == 8


def test_written_sample_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"version": "1.1", "data": [article("전이", paragraphs=1, qas=2)]}
    script.write(tmp_path / "x.json.zst", document)
    assert read_json(tmp_path / "x.json.zst") == document
    assert "2 questions, 1 paragraphs, 1 articles" in capsys.readouterr().out


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the whole SQuAD data set is not here")
def test_script_makes_the_same_dev_sample_again(samples: dict[str, Any]) -> None:
    dev = read_json(SOURCE / "dev-v1.1.json.zst")
    chosen = script.choose_dev(dev["data"], count=500, seed=0)
    assert script.cut(dev, chosen) == samples["dev"]


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the whole SQuAD data set is not here")
def test_script_makes_the_same_train_sample_again(samples: dict[str, Any]) -> None:
    train = read_json(SOURCE / "train-v1.1.json.zst")
    options = {"count": 4000, "per_paragraph": 3, "max_words": 80, "seed": 0}
    assert script.cut(train, script.choose_train(train["data"], **options)) == samples["train"]
