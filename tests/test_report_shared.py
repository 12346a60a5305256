"""What the report of every task type shows: score by length, calibration, what predictions rest on."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from jeoni.base.batch import Batch
from jeoni.data.batching import Features
from jeoni.data.record import Record
from jeoni.evaluation.runner import evaluate
from jeoni.metrics.calibration import calibration
from jeoni.models import hub
from jeoni.models.families import elmo
from jeoni.models.model import Model
from jeoni.report import plots
from jeoni.report.sections import Bars
from jeoni.report.shaded import Shade, Shaded, ShadedText
from jeoni.tasks._saliency import deciding, shades, token_weights
from jeoni.tasks._shared_report import calibration_section, length_section, shared_sections
from jeoni.tasks._tag_types import TagPrediction
from jeoni.tasks._task import Encoded, Scores, Sums, Task
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.dependency import Dependency, DependencyConfig
from jeoni.tasks.multiple_choice import MultipleChoice, MultipleChoiceConfig
from jeoni.tasks.regression import Regression, RegressionConfig
from jeoni.tasks.tagging import Tagging, TaggingConfig
from jeoni.text.training import train
from jeoni.transfer._features import Features as FeaturesOf
from jeoni.transfer._features import FeaturesConfig
from report_page import NASTY, render
from span_tasks import LONG, make
from vector_files import WORDS, fasttext_vec, table

# Calibration


def by_hand(sure: Sequence[float], right: Sequence[bool], bins: int) -> float:
    error = 0.0
    for number in range(bins):
        own = [i for i, p in enumerate(sure) if min(int(p * bins), bins - 1) == number]
        if own:
            accuracy = sum(right[i] for i in own) / len(own)
            confidence = sum(sure[i] for i in own) / len(own)
            error += len(own) / len(sure) * abs(accuracy - confidence)
    return error


ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(ANSWERS, st.integers(1, 20))
def test_calibration_is_that_of_the_definition(pairs: list[tuple[float, bool]], bins: int) -> None:
    sure, right = [p for p, _ in pairs], [r for _, r in pairs]
    found, error = calibration(sure, right, bins)
    assert error == pytest.approx(by_hand(sure, right, bins), abs=1e-9)
    assert sum(b.count for b in found) == len(sure)
    for b in found:
        assert b.low <= b.confidence + 1e-9
        assert b.confidence <= b.high + 1e-9


def test_calibration_of_some_known_cases() -> None:
    assert calibration([0.75] * 4, [True, True, True, False])[1] == 0
    assert calibration([1.0, 1.0], [False, False])[1] == 1
    (first, last), error = calibration([0.05, 0.95, 1.0], [True, True, False])
    assert (first.count, last.count, last.accuracy) == (1, 2, 0.5)
    assert error == pytest.approx((0.95 + 2 * (0.975 - 0.5)) / 3)


@pytest.mark.parametrize(
    ("sure", "right"), [([], []), ([0.5], []), ([1.5], [True]), ([math.nan], [True])]
)
def test_what_cannot_be_calibrated(sure: list[float], right: list[bool]) -> None:
    with pytest.raises(ValueError, match="confidence"):
        calibration(sure, right)


def test_a_reliability_diagram_has_counts_and_marks() -> None:
    section = calibration_section([0.25] * 10 + [0.85] * 30, [True] * 20 + [False] * 20)
    assert section is not None
    assert [row["sure"] for row in section.rows] == ["20-30% sure (n=10)", "80-90% sure (n=30)"]
    assert section.rows[1]["right"] == pytest.approx(1 / 3)
    assert section.mark == "confidence"
    error = (10 * 0.75 + 30 * (0.85 - 1 / 3)) / 40
    assert f"error {error:.3f} (n=40)" in section.note
    (bars,) = plots.spec(section)["datasets"].values()
    assert [round(bar["mark"], 2) for bar in bars] == [0.25, 0.85]
    assert bars[1]["end"] == bars[1]["mark"]  # the number stands behind both
    assert "mark" in plots.spec(section)["layer"][-2]["encoding"]["x"]["field"]
    assert calibration_section([0.5] * 19, [True] * 19) is None  # too few


def test_bars_without_marks_are_as_they_were() -> None:
    (bars,) = plots.spec(Bars("B", [{"n": "a", "v": 1}], "n", "v"))["datasets"].values()
    assert bars == [{"key": "0\na", "label": "a", "value": 1, "low": None, "high": None,
                     "mark": None, "end": 1}]  # fmt: skip


# Score by length


def lengths_of(sizes: Sequence[int], examples: Sequence[int] | None = None) -> Encoded:
    features = Features.of([[5] * n for n in sizes], [[0] * n for n in sizes], examples=examples)
    records = [Record({}, "f", i) for i in range(int(features.examples.max()) + 1)]
    return Encoded(records, features, {})


def test_bands_are_of_about_equal_count() -> None:
    sizes = list(range(1, 101))
    scores = Scores({}, [float(n > 40) for n in sizes])
    section = length_section("accuracy", lengths_of(sizes), scores)
    assert section is not None
    names = [str(row["length"]) for row in section.rows]
    assert names == [f"{n}-{n + 19} (n=20)" for n in range(1, 100, 20)]
    assert [row["accuracy"] for row in section.rows] == [0, 0, 1, 1, 1]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200))
def test_every_example_is_in_one_band_or_there_are_none(sizes: list[int]) -> None:
    section = length_section("a", lengths_of(sizes), Scores({}, [1.0] * len(sizes)))
    if section is None:
        return
    counts = [int(str(row["length"]).split("n=")[1][:-1]) for row in section.rows]
    assert 2 <= len(counts) <= 5
    assert min(counts) >= 10
    assert sum(counts) == len(sizes)


def test_a_band_has_the_main_metric_of_its_examples() -> None:
    rows = np.array([(1, 1, 2), (0, 1, 1)] * 10, np.float64)
    scores = Scores({}, [0.0] * 20, Sums(rows, lambda s: 2 * s[..., 0] / (s[..., 1] + s[..., 2])))
    section = length_section("f1", lengths_of([3, 9] * 10), scores)
    assert section is not None
    assert [(row["length"], row["f1"]) for row in section.rows] == [
        ("3 (n=10)", pytest.approx(2 / 3)),
        ("9 (n=10)", 0.0),
    ]


def test_windows_of_an_example_are_one_length() -> None:
    encoded = lengths_of([4, 4, *range(10, 30)], [0, 0, *range(1, 21)])
    section = length_section("f1", encoded, Scores({}, [50.0] * 21))
    assert section is not None
    assert str(section.rows[0]["length"]).startswith("8-")


@pytest.mark.parametrize("sizes", [[5] * 100, [3, 4] * 9, list(range(1, 20)), [3] * 15 + [4] * 9])
def test_no_bands_where_there_is_too_little(sizes: list[int]) -> None:
    assert length_section("f1", lengths_of(sizes), Scores({}, [1.0] * len(sizes))) is None


# What predictions rest on


def loud(model: Model) -> Model:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def small(family: str) -> Model:
    if family == "bert":
        return tiny.model(dropout=0.5)
    spec = next(iter(hub.own_family(family).presets.values()))
    sizes: dict[str, Any] = {"hidden": 32, "width": 32, "layers": 2, "heads": 2, "feed_forward": 64}
    if spec.decoder_layers:
        sizes["decoder_layers"] = 2
    words = tiny.tokenizer()
    return hub.create(family, replace(spec, vocab=words.vocab_size, **sizes), tokenizer=words)


def classifier(model: Model) -> tuple[Classification, Encoded]:
    config = ClassificationConfig(labels=tiny.LABELS, max_length=40)
    task = Classification(model=loud(model), config=config)
    return task, task.encode(tiny.labeled())


@pytest.mark.parametrize("family", ["bert", "bart", "t5"])
def test_weights_are_gradient_times_input(family: str) -> None:
    """By hand: how the log-probability changes when a token's vector shrinks a little.

    A decoder reads it, too, one place on.
    """
    task, encoded = classifier(small(family))
    batch = encoded.features.batch([2])
    task.model.double()  # of effects so small
    found = token_weights(task, batch)
    assert found is not None
    words = task.model.backbone.embeddings.words
    step = 1e-3
    effects = []
    for place in range(len(batch.ids)):
        sides = []
        for sign in (1, -1):
            grown = torch.ones(len(batch.ids), 1)
            grown[place] += sign * step

            def change(module: Any, inputs: Any, output: Any, grown: Any = grown) -> Any:
                again = inputs[0].tolist() != batch.ids.tolist()
                return output * (torch.cat([torch.ones(1, 1), grown[:-1]]) if again else grown)

            hook = words.register_forward_hook(change)
            with torch.no_grad():
                sides.append(-float(task(batch).total))
            hook.remove()
        effects.append((sides[0] - sides[1]) / (2 * step))
    scale = max(map(abs, effects))
    assert found.tolist() == pytest.approx([e / scale for e in effects], abs=0.02)


@pytest.mark.parametrize("family", ["bert", "albert", "gpt2", "xlnet", "t5", "bart"])
def test_any_backbone(family: str) -> None:
    task, encoded = classifier(small(family))
    task.model.train()
    batch = encoded.features.batch([0])
    first, second = token_weights(task, batch), token_weights(task, batch)
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)  # without dropout
    assert first.abs().max() == 1
    assert (first != 0).sum() > len(first) / 2
    assert task.model.training
    assert all(p.grad is None for p in task.model.parameters())
    assert not any(m._forward_hooks for m in task.model.modules())


def test_a_frozen_backbone_too() -> None:
    task, encoded = classifier(tiny.model())
    for parameter in task.model.backbone.parameters():
        parameter.requires_grad_(False)
    weights = token_weights(task, encoded.features.batch([0]))
    assert weights is not None
    assert weights.abs().max() == 1


def test_features_of_a_frozen_backbone_too() -> None:
    model = tiny.model()
    model.add_features(FeaturesOf(FeaturesConfig(), layers=2, hidden=32))
    model.frozen = True
    task, encoded = classifier(model)
    weights = token_weights(task, encoded.features.batch([0]))
    assert weights is not None
    assert weights.abs().max() == 1
    assert model.frozen


def test_words_as_tokens_too(tmp_path: Path) -> None:
    """Vectors that do not train, and words of characters, around which the model puts marks."""
    spec = replace(
        elmo.FAMILY.presets["elmo-small"], hidden=16, feed_forward=8, filters=((1, 8), (3, 8))
    )
    fasttext_vec(tmp_path / "x.vec", WORDS, table())
    words = hub.create("elmo", spec, tokenizer=elmo.tokenizer(tmp_path, spec))
    for model in (words, hub.load(tmp_path / "x.vec")):
        task, _ = classifier(model)
        batch = task.encode([Record({"text": "the the film", "label": "긍정"}, "f", 1)]).features
        weights = token_weights(task, batch.batch([0]))
        assert weights is not None
        assert len(weights) == 3
        pieces = shades(model.tokenizer, batch.ids.tolist(), weights.tolist())
        assert pieces[0].text == "the"
        assert pieces[0].weight == pytest.approx(float(weights[0]))


def test_no_view_without_token_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    task, encoded = classifier(tiny.model())
    monkeypatch.setattr(type(task.model.backbone), "embeddings", None, raising=False)
    inside = dict(task.model.backbone._modules)
    embed = inside.pop("embeddings")
    monkeypatch.setattr(task.model.backbone, "_modules", inside)
    monkeypatch.setattr(
        task.model.backbone, "embed", lambda b: embed(b.ids, b.positions, b.segments)
    )
    assert token_weights(task, encoded.features.batch([0])) is None


@pytest.mark.parametrize("kind", ["wordpiece", "syllable", "jamo", "bpe", "unigram"])
@pytest.mark.parametrize("text", ["훈민정음은 1443년에 만들어졌다.", "Café 😀 isn't it?"])
def test_pieces_are_the_text_again(kind: str, text: str) -> None:
    words = train([*tiny.texts(), *["훈민정음"] * 9], kind=kind, vocab_size=400)
    ids = words.encode(text).ids
    pieces = shades(words, ids, [0.1] * len(ids))
    assert "".join(piece.text for piece in pieces) == words.decode(ids, skip_special=False)
    assert "\ufffd" not in "".join(piece.text for piece in pieces)
    assert sum(piece.weight for piece in pieces) == pytest.approx(0.1 * len(ids))


class Bytes:
    """A tokenizer whose tokens are single bytes."""

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return bytes(ids).decode("utf-8", "replace")


def test_tokens_that_are_less_than_a_character_are_put_together() -> None:
    ids = list("a한".encode())
    assert shades(Bytes(), ids, [0.5, 0.1, 0.2, -0.4]) == [
        Shade("a", 0.5), Shade("한", pytest.approx(-0.1)),
    ]  # fmt: skip


def test_weights_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="not all from -1 to 1"):
        ShadedText([Shade("a", 1.5)], "x", "x", True)


def test_shades_are_drawn_and_no_markup() -> None:
    item = ShadedText([Shade("좋은", 1.0), Shade(NASTY, -0.25)], NASTY, "b", False)
    page = render(Shaded("S", [item], NASTY))
    assert page.texts("p", "shades") == ["좋은" + NASTY]
    assert page.texts("span", "for")[1:] == ["좋은"]  # the first is the legend's
    assert page.texts("span", "against")[1:] == [NASTY]
    styles = [a.get("style") for tag, a, _ in page.found if tag == "span" and "style" in a]
    assert styles[-2:] == ["--share:1.00", "--share:0.25"]


# Together


def many(task: Task[Any, Any], records: list[Record]) -> tuple[Encoded, list[Any]]:
    """The sections of a task whose model says something, and the predictions."""
    encoded = task.encode(records)
    found = evaluate(task, encoded, precision="fp32", show=False)
    return encoded, shared_sections(task, encoded, found.predictions, found.scores)


def test_of_classification() -> None:
    task, _ = classifier(tiny.model())
    _, (length, sure, rests) = many(task, tiny.labeled() * 3)
    assert length.title == "accuracy by length of the input"
    assert sure.title == "Calibration"
    assert {item.good for item in rests.items} == {True, False}
    for item in rests.items:
        text = "".join(piece.text for piece in item.pieces)
        assert text.startswith("[CLS]")
        assert (item.predicted == item.gold) == item.good
        assert max(abs(piece.weight) for piece in item.pieces) > 0.5


def test_of_questions() -> None:
    """What counts is in the window that holds the answer."""
    task = make(tiny.model(), max_length=64, stride=16)
    loud(task.model)
    records = [*tiny.questions(), tiny.question("Where?", LONG, "Incheon", "long")] * 3
    records = [replace(r, fields={**r.fields, "id": str(i)}) for i, r in enumerate(records)]
    _, sections = many(task, records)
    titles = [section.title for section in sections]
    assert titles == ["f1 by length of the input", "Calibration", "What predictions rest on"]
    for item in sections[2].items:
        text = "".join(piece.text for piece in item.pieces)
        assert item.predicted.split()[0].lower() in text


def test_of_choices() -> None:
    task = MultipleChoice(model=loud(tiny.model()), config=MultipleChoiceConfig(max_length=40))
    fields = {"text": "정말 재미있는", "choices": ["영화였다", "돈이 아까운 졸작"], "label": 0}
    records = [Record({**fields, "label": i % 2}, "c", i) for i in range(24)]
    _, sections = many(task, records)
    assert [section.title for section in sections] == ["Calibration", "What predictions rest on"]
    text = "".join(piece.text for piece in sections[1].items[0].pieces)
    assert "영화였다" in text
    assert "졸작" in text


def test_of_words_each_counts() -> None:
    """Of tags and heads: as many probabilities as words, and those are right that are."""
    words = ["세종대왕은", "서울에서", "태어났다"]
    fields = {"text": " ".join(words), "tokens": words}
    tags = Tagging(
        model=loud(tiny.model()), config=TaggingConfig(labels=("O", "B-PS", "B-LC"), max_length=40)
    )
    trees = Dependency(model=loud(tiny.model()), config=DependencyConfig(labels=("a", "root")))
    for task, gold in (
        (tags, {"tags": ["B-PS", "B-LC", "O"]}),
        (trees, {"heads": [3, 3, 0], "relations": ["a", "a", "root"]}),
    ):
        encoded = task.encode([Record({**fields, **gold}, "f", n) for n in range(8)])
        found = evaluate(task, encoded, precision="fp32", show=False)
        sure, right = task.confidences(encoded, found.predictions, found.scores)
        assert len(sure) == len(right) == 24
        said = getattr(found.predictions[0], "tags", None) or found.predictions[0].heads
        wanted = next(iter(gold.values()))
        assert right[:3] == [a == b for a, b in zip(said, wanted, strict=True)]
        sections = shared_sections(task, encoded, found.predictions, found.scores)
        assert [s.title for s in sections] == ["Calibration", "What predictions rest on"]


def resting(task: Task[Any, Any], batch: Batch, place: tuple[Any, ...] | None) -> list[float]:
    """By hand: gradient times input of each token, for the log-probability at a place of the logits.

    None: for the sum of the logits.
    """
    words = task.model.backbone.embeddings.words
    vectors = words.weight.detach()[batch.ids].requires_grad_()
    hook = words.register_forward_hook(lambda *_: vectors)
    task.model.eval()
    logits = task.logits(batch)
    said = logits.sum() if place is None else logits[place[:-1]].log_softmax(-1)[place[-1]]
    (slope,) = torch.autograd.grad(said, vectors)
    hook.remove()
    effects = (slope * vectors).sum(-1)
    found: list[float] = (effects / effects.abs().max()).tolist()
    return found


def shaded_as(item: ShadedText, expected: list[float]) -> None:
    found = [piece.weight for piece in item.pieces if piece.text.strip()]
    assert found[0] == pytest.approx(expected[0], abs=0.01)  # [CLS] is a piece of its own
    assert found[-1] == pytest.approx(expected[-1], abs=0.01)  # [SEP]
    assert sum(found) == pytest.approx(sum(expected), abs=0.02)


def surest_errors(
    sure: Sequence[Sequence[float]], wrong: Sequence[Sequence[bool]]
) -> list[tuple[int, int]]:
    """Text and word of the two surest errors of two texts."""
    rows = [
        (chance, text, word)
        for text, (chances, bad) in enumerate(zip(sure, wrong, strict=True))
        for word, chance in enumerate(chances)
        if bad[word] and chance == max(c for c, b in zip(chances, bad, strict=True) if b)
    ]
    ordered = sorted(rows, key=lambda row: (-row[0], row[1]))
    return [(text, word) for _, text, word in ordered[:2]]


PLACES = [
    "서울에서",
    "태어난",
    "세종대왕은",
    "부산에서",
    "훈민정음을",
    "만들었다",
    "그리고",
    "제주에서",
]


@pytest.mark.parametrize("settings", [{}, {"max_length": 12, "stride": 4}, {"piece": "mean"},
                                      {"unit": "character"}])  # fmt: skip
def test_of_tags_the_surest_error_alone(settings: dict[str, Any]) -> None:
    """Of its word in the window that was believed; that of a right text is the least sure."""
    names = ("NN", "VV", "MA")
    config = TaggingConfig(**({"labels": names, "max_length": 60} | settings))
    task = Tagging(model=loud(tiny.model()), config=config)
    records = []
    for n in range(4):
        words = PLACES[n:] + PLACES[:n]
        text = " ".join(words)
        fields: dict[str, Any] = {"text": text, "tags": ["NN"] * len(text)}
        if "unit" not in settings:
            fields |= {"tokens": words, "tags": ["NN"] * len(words)}
        records.append(Record(fields, "f", n))
    said = evaluate(task, task.encode(records), precision="fp32", show=False).predictions
    for n, (record, p) in enumerate(zip(records, said, strict=True)):  # text 3 is right
        gold = [
            tag if n == 3 or (word + n) % 3 else names[names.index(tag) - 1]
            for word, tag in enumerate(p.tags)
        ]
        records[n] = replace(record, fields=record.fields | {"tags": gold})
    encoded, sections = many(task, records)
    items = list(sections[-1].items)
    assert [item.good for item in items] == [False, False, True]
    wrong = [[(word + n) % 3 == 0 for word in range(len(p.tags))] for n, p in enumerate(said[:3])]
    places = surest_errors([p.probabilities for p in said[:3]], wrong)
    sure = [chance or 2.0 for chance in said[3].probabilities]
    for (text, word), item in zip([*places, (3, sure.index(min(sure)))], items, strict=True):
        tag, chance = said[text].tags[word], said[text].probabilities[word]
        assert item.predicted.endswith(f": {tag}")
        if "unit" not in settings:
            assert item.predicted == f"{records[text].fields['tokens'][word]}: {tag}"
        assert item.gold.endswith(f": {records[text].fields['tags'][word]}")
        number = task.labels.index(tag)
        for sequence in np.flatnonzero(encoded.features.examples == text).tolist():
            batch = encoded.features.batch([sequence])
            with torch.no_grad():
                best, numbers = task.logits(batch).softmax(-1).max(-1)
            tokens = (best - chance).abs() < 6e-5
            tokens &= numbers == number
            if tokens.any():
                break
        token = int(tokens.nonzero()[0])  # of a mean, any of its word
        shaded_as(item, resting(task, batch, (token, number)))


def test_of_heads_the_surest_error_alone() -> None:
    task = Dependency(model=loud(tiny.model()), config=DependencyConfig(labels=("a", "root")))
    records = []
    for n in range(3):
        words = PLACES[n : n + 5]
        fields = {"text": " ".join(words), "tokens": words, "relations": ["root", *"aaaa"]}
        records.append(Record({**fields, "heads": [0, 1, 2, 3, 4]}, "f", n))
    said = evaluate(task, task.encode(records), precision="fp32", show=False).predictions
    records[2] = replace(records[2], fields=records[2].fields | {"heads": list(said[2].heads)})
    encoded, sections = many(task, records)
    items = list(sections[-1].items)
    assert [item.good for item in items] == [False, False, True]
    wrong = [[head != gold for gold, head in enumerate(p.heads)] for p in said[:2]]
    places = surest_errors([p.probabilities for p in said[:2]], wrong)
    least = said[2].probabilities.index(min(said[2].probabilities))
    for (text, word), item in zip([*places, (2, least)], items, strict=True):
        head, names = said[text].heads[word], ["root", *records[text].fields["tokens"]]
        assert item.predicted == f"{names[head]} → {names[word + 1]}"
        gold = records[text].fields["heads"][word]
        assert item.gold == f"{names[gold]} → {names[word + 1]}"
        batch = encoded.features.batch([text])
        shaded_as(item, resting(task, batch, (0, word, slice(None), 0, head)))


def test_a_word_that_stands_for_its_sentence() -> None:
    assert deciding([0.9, 0.6, 0.8], [True, False, False]) == 2
    assert deciding([0.9, 0.6, 0.8], [True, True, True]) == 1
    assert deciding([0.0, 0.6, 0.0], [False, True, True]) == 1  # no token stands for the others
    assert deciding([0.0], [False]) is None


def test_of_numbers_there_is_less() -> None:
    task = Regression(model=loud(tiny.model()), config=RegressionConfig())
    rows = [(text, str(number % 5)) for number, (text, _) in enumerate(tiny.REVIEWS * 3)]
    encoded, (length, rests) = many(task, tiny.labeled(rows))
    assert length.title == "pearson by length of the input"
    said = evaluate(task, encoded, precision="fp32", show=False).predictions
    errors = [abs(p.value - float(gold)) for p, (_, gold) in zip(said, rows, strict=True)]
    furthest = sorted(range(len(rows)), key=lambda i: -errors[i])[:2]
    assert [item.predicted for item in rests.items] == [f"{said[i].value:.2f}" for i in furthest]
    for item, i in zip(rests.items, furthest, strict=True):
        shaded_as(item, resting(task, encoded.features.batch([i]), None))


def test_of_few_examples_there_is_little(tmp_path: Path) -> None:
    task, _ = classifier(tiny.model())
    _, sections = many(task, tiny.labeled()[:4])
    assert [section.title for section in sections] == ["What predictions rest on"]


def test_kinds_of_entities_are_read_as_the_main_figure_reads_them() -> None:
    """KLUE's do not count without their B: conlleval's do."""
    text = "서울 부산 유월"
    tags = ["B-LOC", "I-LOC", "O", "B-LOC", "I-LOC", "O", "B-TIM", "I-TIM"]
    names = ("O", "B-LOC", "I-LOC", "B-TIM", "I-TIM")
    config = TaggingConfig(labels=names, unit="character", metric="klue_ner", max_length=64)
    task = Tagging(model=tiny.model(), config=config)
    encoded = task.encode([Record({"text": text, "tags": tags}, "x.tsv", 1)])
    said = [TagPrediction(("I-LOC", *tags[1:]), (1.0,) * len(tags))]
    scores = task.score(encoded, said)
    bars, *_ = task.sections(encoded, said, scores)
    assert isinstance(bars, Bars)
    f1 = {str(row["kind"])[:3]: row["F1"] for row in bars.rows}
    assert f1 == {"LOC": pytest.approx(2 / 3), "TIM": 1.0}
    assert scores.values["entity_macro_f1"] == pytest.approx(sum(f1.values()) / 2)
