"""Tagging: targets, windows, schemes, scores by kind, errors, and the whole way from a file to use."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import peers
import tiny
import vector_files
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.serving.tagger import WORD, tag
from jeoni.tasks._tag_report import errors
from jeoni.tasks._tag_types import TagPrediction
from jeoni.tasks.tagging import EncodedTags, Tagging, TaggingConfig, from_data
from shell import Run

LABELS = ("O", "B-LOC", "I-LOC", "B-TIM", "I-TIM")
SENTENCES: list[tuple[list[str], list[str]]] = [
    (["The", "Han", "River", "flows"], ["O", "B-LOC", "I-LOC", "O"]),
    (["It", "opened", "in", "July", "1900", "."], ["O", "O", "O", "B-TIM", "I-TIM", "O"]),
    (["세종대왕은", "서울", "1443년"], ["O", "B-LOC", "B-TIM"]),
    (["a", "wonderful", "film"], ["O", "O", "O"]),
]


def words(rows: Sequence[tuple[list[str], list[str]]] = SENTENCES) -> list[Record]:
    return [
        Record({"text": " ".join(t), "tokens": t, "tags": tags}, "x.conll", n)
        for n, (t, tags) in enumerate(rows, 1)
    ]


def characters() -> list[Record]:
    text = "세종대왕은 1443년에 훈민정음을 만들었다"
    tags = ["B-LOC", *["I-LOC"] * 3, "O", "O", "B-TIM", *["I-TIM"] * 4, *["O"] * 12]
    return [Record({"text": text, "tags": tags[: len(text)]}, "x.tsv", 1)]


def make(model: Model | None = None, **settings: Any) -> Tagging:
    config = {"labels": LABELS, "max_length": 64, **settings}
    return Tagging(model=model or tiny.model(), config=TaggingConfig(**config))


def perfect(task: Tagging, encoded: EncodedTags) -> list[TagPrediction]:
    """What a model says that is right on every token."""
    kept = []
    for index, (start, end) in enumerate(encoded.windows):
        tags = encoded.features.batch([index]).targets["tags"][1 : 1 + end - start]
        kept.append(([max(t, 0) for t in tags.tolist()], [0.5] * (end - start)))
    return task.combine(encoded, kept)


def test_targets_are_at_first_tokens() -> None:
    task = make()
    encoded = task.encode(words())
    for index, (tokens, tags) in enumerate(SENTENCES):
        batch = encoded.features.batch([index])
        assert batch.ids.tolist() == task.model.tokenizer.encode(" ".join(tokens)).ids
        target = batch.targets["tags"].tolist()
        assert len(target) == len(batch.ids)
        assert [LABELS[t] for t in target if t >= 0] == tags
        assert target[0] == target[-1] == -100


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("length", [64, 6])
def test_a_perfect_model_has_perfect_scores(scheme: str, length: int) -> None:
    task = make(scheme=scheme, max_length=length, stride=2)
    assert len(task.labels) == (5 if scheme == "BIO" else 9)
    encoded = task.encode(words())
    assert (len(encoded.features) > len(SENTENCES)) == (length == 6)
    predictions = perfect(task, encoded)
    assert [list(p.tags) for p in predictions] == [tags for _, tags in SENTENCES]
    scores = task.score(encoded, predictions)
    assert scores.values["entity_f1"] == scores.values["tag_accuracy"] == 1.0
    assert scores.intervals(task.main_metric)[task.main_metric][1] == 1.0


def test_characters() -> None:
    task = make(unit="character", metric="klue_ner")
    encoded = task.encode(characters())
    (prediction,) = perfect(task, encoded)
    assert len(prediction.tags) == len(encoded.records[0].fields["text"])
    lost = encoded.notes["entities whose borders are inside tokens"]
    scores = task.score(encoded, [prediction])
    assert (scores.values["entity_macro_f1"] == 1.0) == (lost == 0)
    assert task.main_metric == "entity_macro_f1"
    assert "char_macro_f1_without_O" in scores.values
    right = TagPrediction(tuple(encoded.gold[0]), (1.0,) * len(encoded.gold[0]))
    assert task.score(encoded, [right]).values["entity_macro_f1"] == 1.0


@pytest.mark.parametrize(("labels", "blank"), [(("X", "Y"), "X"), (("X", "Y", "O"), "O")])
def test_blanks_between_plain_characters(labels: tuple[str, ...], blank: str) -> None:
    """No token stands for them: they are ``O`` or go on, and say nothing of how sure the model is."""
    task = make(unit="character", labels=labels)
    tags = ["X", "X", blank, "Y", "Y", "Y"]
    encoded = task.encode([Record({"text": "서울 한강은", "tags": tags}, "x.tsv", 1)])
    assert encoded.notes["characters without a token"] == 1
    (found,) = perfect(task, encoded)
    assert list(found.tags) == tags
    scores = task.score(encoded, [found])
    assert scores.values["tag_accuracy"] == 1.0
    assert task.confidences(encoded, [found], scores) == ([0.5] * 5, [True] * 5)


def test_words_without_a_token_have_no_probability() -> None:
    task = make()
    encoded = task.encode(words([(["a", "\u200b\x00", "film"], ["O", "B-LOC", "O"])]))
    assert encoded.notes["words without a token"] == 1
    (found,) = perfect(task, encoded)
    assert found.probabilities == (0.5, 0.0, 0.5)
    scores = task.score(encoded, [found])
    assert task.confidences(encoded, [found], scores) == ([0.5] * 2, [True] * 2)


def test_of_windows_the_one_with_most_around_counts() -> None:
    task = make(max_length=6, stride=2)
    encoded = task.encode(words([(["a", "b", "c", "d", "e", "f", "g"], ["O"] * 7)]))
    assert len(encoded.windows) > 2
    assert encoded.windows[-1][1] == 7  # each word is a token
    kept = [
        ([n % 5] * (end - start), [0.5] * (end - start))
        for n, (start, end) in enumerate(encoded.windows)
    ]
    (found,) = task.combine(encoded, kept)
    for place, said in enumerate(found.tags):
        around = {  # an end of the text is none of the window's
            n: min(place - start if start else 7, end - 1 - place if end < 7 else 7)
            for n, (start, end) in enumerate(encoded.windows)
            if start <= place < end
        }
        assert said == LABELS[max(around, key=lambda n: around[n]) % 5]


def test_what_is_kept_comes_back_from_json() -> None:
    """Under torchrun, other ranks get it so."""
    task = make(max_length=6, stride=2)
    encoded = task.encode(words())
    logits = torch.randn(
        int(encoded.features.lengths.sum()), 5, generator=torch.Generator().manual_seed(1)
    )
    kept = task.decode(encoded, range(len(encoded.features)), logits)
    rows = torch.split(logits, encoded.features.lengths.tolist())
    for (start, end), row, (tags, sure) in zip(encoded.windows, rows, kept, strict=True):
        best = torch.softmax(row[1 : 1 + end - start], -1).max(-1)
        assert tags == best.indices.tolist()
        assert sure == pytest.approx(best.values.tolist())
    again = [task.unpack(json.loads(json.dumps(task.pack(k)))) for k in kept]
    assert task.combine(encoded, again) == task.combine(encoded, kept)


def test_numbers_stand_for_names() -> None:
    numbers = [(t, [LABELS.index(tag) for tag in tags]) for t, tags in SENTENCES]
    task = make()
    first, second = task.encode(words()), task.encode(words(numbers))  # type: ignore[arg-type]
    assert first.gold == second.gold


@pytest.mark.parametrize(
    ("tag_", "labels"), [("B-PER", LABELS), ("NOUN", LABELS), (9, LABELS), ("Y", ("X", "Z"))]
)
def test_a_tag_that_is_none_of_the_model_s(tag_: Any, labels: tuple[str, ...]) -> None:
    records = words([(["a"], [labels[0]]), (["a"], [tag_])])
    with pytest.raises(
        UserError, match=rf"x.conll, line 2: tag '{tag_}' is not one of the tags\n.*{labels[0]}"
    ):
        make(labels=labels).encode(records)


def test_plain_tags_that_are_unknown_are_wrong() -> None:
    """Some tags of a treebank are in its dev part alone."""
    task = make(labels=("X", "Z"))
    encoded = task.encode(words([(["a", "film"], ["Y", "Z"]), (["a"], ["X"])]))
    targets = encoded.features.batch([0]).targets["tags"].tolist()
    assert [target for target in targets if target >= 0] == [1]
    assert encoded.notes["tags that the model does not know"] == 1
    scores = task.score(encoded, perfect(task, encoded))
    assert scores.values["tag_accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="tag '7' is not one of the tags"):
        task.encode(words([(["a", "film"], [1, 7])]))  # type: ignore[list-item]


def test_tags_that_are_not_allowed_are_counted() -> None:
    notes = make().encode(words([(["a", "b", "c"], ["I-LOC", "O", "I-TIM"])])).notes
    assert notes["tags that their scheme does not allow"] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": None}, "needs the names of the tags"),
        ({"labels": ("X", "Y"), "scheme": "BIO"}, "task.scheme=BIO, but tags are X, Y"),
        ({"labels": ("X", "Y"), "metric": "entity_f1"}, "task.metric=entity_f1 is for entities"),
        ({"max_length": 1000}, "the model has 128 positions"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**settings)


def test_loss_is_that_of_the_tagged_tokens() -> None:
    task = make()
    batch = task.encode(words()).features.batch(range(4))
    logits = torch.randn(len(batch.ids), 5, generator=torch.Generator().manual_seed(0))
    loss = task.loss(logits, batch)
    expected = torch.nn.functional.cross_entropy(logits, batch.targets["tags"].long())
    torch.testing.assert_close(loss.total / loss.count, expected)
    assert loss.count == sum(len(tags) for _, tags in SENTENCES)


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_decoders_too(family: str) -> None:
    task = make(peers.reader(family), max_length=16)
    assert task.last == (family == "gpt2")
    features = task.encode(words()).features
    task.model.eval()
    together = task.logits(features.batch([0, 1]))
    alone = torch.cat([task.logits(features.batch([i])) for i in (0, 1)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_head_is_kept_for_the_same_tags(tmp_path: Path) -> None:
    task = make(scheme="BIOES")
    task.model.settings = task.settings()
    task.model.save(tmp_path)
    assert not make(hub.load(tmp_path), scheme="BIOES").model.fresh
    assert make(hub.load(tmp_path)).model.fresh


def test_errors_by_what_is_wrong() -> None:
    gold = [[("A", 0, 1), ("A", 3, 3), ("B", 5, 6)], [("B", 0, 0)], [("A", 0, 2)]]
    said = [[("A", 0, 2), ("B", 3, 3), ("B", 8, 9)], [("B", 0, 0)], [("B", 2, 3)]]
    assert errors(gold, said) == [("A", 1, 1, 1, 0, 0), ("B", 0, 0, 0, 1, 1)]


@pytest.mark.parametrize("plain", [False, True])
def test_sections(plain: bool) -> None:
    from jeoni.report.page import Report

    labels = ("DET", "NOUN", "O") if plain else LABELS
    rows = [(t, [labels[len(w) % 2] for w in t]) for t, _ in SENTENCES] if plain else SENTENCES
    task = make(labels=labels)
    encoded = task.encode(words(rows))
    found = [TagPrediction((labels[1],) * len(t), (0.5,) * len(t)) for t, _ in rows]
    sections = task.sections(encoded, found, task.score(encoded, found))
    page = Report("x", "", sections).html()
    assert ("Confusion matrix" in page) == plain
    assert ("<mark" in page) != plain
    assert len(json.dumps(page)) < 3_000_000


def test_texts_are_cut_into_words() -> None:
    text = "The cafe\u0301's open, 3시."
    assert WORD.findall(text) == ["The", "cafe\u0301", "'", "s", "open", ",", "3시", "."]


# From a file to a run, and back


@pytest.fixture(scope="module")
def conll(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tags") / "train.conll"
    rows = ("\n".join(map("\t".join, zip(t, tags, strict=True))) for t, tags in SENTENCES)
    path.write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_trained_evaluated_and_used(
    tiny_folder: Path, conll: Path, tmp_path: Path, jeoni: Run
) -> None:
    data = {"train": str(conll), "dev": str(conll)}
    recipe = tiny.recipe(tiny_folder, data, tmp_path / "run", train={"epochs": 40, "lr": 5e-3})
    run = finetune(recipe, "task.max_length=64")
    assert run.metrics["entity_f1"] > 0.9
    found = evaluate(run.folder, {"dev": str(conll)})
    assert found["interval"]["metric"] == "entity_f1"
    assert predict(run.folder, {"test": str(conll)})[0]["tags"] == tuple(SENTENCES[0][1])
    (tagged,) = tag(run.folder, "The Han River flows")
    assert [(s.text, s.tag, s.start, s.end) for s in tagged.spans] == [("Han River", "LOC", 4, 13)]
    assert tag(run.folder, [["The", "Han", "River", "flows"]])[0] == tagged
    result = jeoni("tag", "--model", str(run.folder), "--json", "The Han River flows")
    assert json.loads(result.out)[0]["spans"][0]["text"] == "Han River"
    assert (
        "Han River"
        in jeoni("tag", "--model", str(run.folder), "--words", "The Han River flows").out
    )
    blank = jeoni("tag", "--model", str(run.folder), "a", " ")
    assert (blank.status, blank.err.strip()) == (2, "jeoni: input 2: the text is empty")
    assert "Kinds of entities" in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("column", "unit"), [("characters", "character"), ("tokens", "word")])
def test_what_is_tagged_is_known_by_the_column(tmp_path: Path, column: str, unit: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({column: ["a", "b"], "tags": ["O", "B-X"]}))
    dataset = open_dataset(DataConfig(train=str(path), dev=str(path)))
    assert dataset.task == "tagging"
    assert from_data(dataset)["unit"] == unit
    text = "ab" if unit == "character" else "a b"
    assert dataset.split("dev")[0].fields["text"] == text


def test_from_a_file_of_vectors(conll: Path, tmp_path: Path) -> None:
    """Models of words: here a tag is for the word's vector alone."""
    names = sorted({word for tokens, _ in SENTENCES for word in tokens})
    vector_files.fasttext_vec(tmp_path / "x.vec", names, vector_files.table(len(names), 16))
    data = {"train": str(conll), "dev": str(conll)}
    recipe = tiny.recipe(
        tmp_path / "x.vec", data, tmp_path / "run", train={"epochs": 60, "lr": 0.3}
    )
    run = finetune(recipe)
    assert run.metrics["entity_f1"] == 1.0
    (tagged,) = tag(run.folder, "The Han River flows")
    assert [s.text for s in tagged.spans] == ["Han River"]
