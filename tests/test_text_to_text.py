"""Text to text: templates, what is written, loss by hand, scores, and a run that learns to answer."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import objective_parts as parts
import tiny
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig, EpochBatches
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.evaluation.runner import evaluate as evaluated
from jeoni.models import hub
from jeoni.recipes import examples
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.report.sections import NOTHING, Bars, Texts
from jeoni.serving.predictor import answer
from jeoni.serving.writer import generate, habits
from jeoni.tasks import _templates
from jeoni.tasks._scores import Scores
from jeoni.tasks._shared_report import length_section, shared_sections
from jeoni.tasks._text_report import text_sections
from jeoni.tasks.text_to_text import TASK, TextToText, TextToTextConfig, from_data
from shell import Run, user_error

WORDS = ["river", "bridge", "water", "mountain", "valley", "forest", "island", "harbor"]
PLAIN = {"source": "{source}", "target": "{target}", "metric": "accuracy"}
FAMILIES = ["t5", "bart", "gpt2"]


def records(rows: Sequence[tuple[str, Any]]) -> list[Record]:
    return [Record({"source": a, "target": b}, "x.jsonl", n) for n, (a, b) in enumerate(rows, 1)]


ROWS = [("river bridge", "water"), ("water", "the river and the bridge"), ("a bridge was near", "")]


def make(family: str = "t5", **settings: Any) -> TextToText:
    return TextToText(model=parts.model(family), config=TextToTextConfig(**(PLAIN | settings)))


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


# Templates


def test_templates() -> None:
    record = Record({"a": "x", "n": 3.0, "many": ["p", {"text": "q"}], "in": {"side": 7}}, "f", 1)
    assert _templates.one("{a} and {many}: {in.side}, {n}", record) == "x and p, q: 7, 3"
    assert _templates.each("say {many} {a}", record, {"q": "Q"}) == ["say p x", "say Q x"]
    assert _templates.each("{many}", Record({"many": []}, "f", 1), {}) == []
    assert _templates.each("{a} {a}", record, {}) == ["x x"]
    with pytest.raises(UserError, match=r"f, line 1: no column 'b', which the template asks for"):
        _templates.one("{b}", record)
    with pytest.raises(UserError, match="column 'in' holds"):
        _templates.one("{in}", record)
    with pytest.raises(UserError, match="column 'a' is empty"):
        _templates.one("{a}", Record({"a": None}, "f", 1))


@pytest.mark.parametrize(
    ("template", "text", "filled"),
    [
        ("translate: {ko}", "안녕", "translate: 안녕"),
        ("translate: {ko}", "translate: 안녕", "translate: 안녕"),
        ("question: {q} context: {c}", "question: a context: b", "question: a context: b"),
        ("{source}", "a", "a"),
    ],
)
def test_a_text_in_a_template(template: str, text: str, filled: str) -> None:
    assert _templates.filled(template, text) == filled


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": "a", "target": "b"}, ("{source}", "{target}", "squad_v1", "words")),
        ({"question": "a", "answer": ["b"]}, ("{question}", "{answer}", "squad_v1", "words")),
        ({"source": "a", "target": "나"}, ("{source}", "{target}", "korquad_v1", "characters")),
    ],
)
def test_usual_templates(fields: Any, expected: tuple[str, ...], tmp_path: Path) -> None:
    file = lines(tmp_path / "x.jsonl", [fields] * 3)
    dataset = open_dataset(DataConfig(test=str(file)))
    assert dataset.task == "text_to_text"
    found = from_data(dataset)
    assert tuple(found[key] for key in ("source", "target", "metric", "units")) == expected


def test_templates_are_guessed_past_bad_targets(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"source": "a", "target": target} for target in (None, {}, "가")]
    file = lines(tmp_path / "x.jsonl", [*rows, {"source": "b"}])
    dataset = open_dataset(DataConfig(train=str(file), dev=str(file), skip_bad=True))
    assert from_data(dataset)["units"] == "characters"
    task = make(**from_data(dataset))
    assert len(examples.encode(task, dataset, "train").records) == 1
    assert dataset.skipped("train").count == 3


def test_other_tasks_as_text(tmp_path: Path) -> None:
    squad = open_dataset(DataConfig(dev=str(tiny.write_squad(tmp_path / "q.json"))))
    found = from_data(squad)
    assert found["source"] == "question: {question} context: {context}"
    assert _templates.each(found["target"], squad.split("dev")[0], {}) == ["July 1900"]
    nsmc = tmp_path / "nsmc"
    nsmc.mkdir()
    tiny.write_csv(
        nsmc / "ratings_test.csv", [("재미있다", "1"), ("없다", "0")], ("document", "label")
    )
    config = DataConfig(name="nsmc", test=str(nsmc / "ratings_test.csv"))
    reviews = open_dataset(config, task="text_to_text")
    found = from_data(reviews)
    assert (found["source"], found["metric"]) == ("{text}", "accuracy")
    assert _templates.each(found["target"], reviews.split("test")[0], {}) == ["positive"]


# What is read and written


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_that_of_what_is_written(family: str) -> None:
    """Each example alone, logits and cross-entropy by torch."""
    task = make(family)
    encoded = task.encode(records(ROWS))
    words, model = task.model.tokenizer, task.model.eval()
    total, count = 0.0, 0
    for number, (source, target) in enumerate(ROWS):
        prompt = encoded.prompt(number)
        if family == "gpt2":
            newline = words.pieces(["\n"])[0].ids.tolist()
            assert prompt == [*words.pieces([source])[0].ids.tolist(), *newline]
            wanted = [*words.pieces([target])[0].ids.tolist(), words.eos_id]
            read = prompt + wanted[:-1]
            batch = hub_batch(read)
            hidden = model(batch)[len(prompt) - 1 :]
        else:
            assert prompt == words.encode(source).ids
            wanted = words.encode(target).ids
            assert wanted[-1] == words.eos_id
            start = [model.spec.decoder_start]
            hidden = model(hub_batch(prompt, start + wanted[:-1]))
        logits = model.heads["language_model"](hidden, model.backbone.embeddings.words.weight)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(wanted), reduction="sum")
        total, count = total + float(loss.detach()), count + len(wanted)
    loss_ = task(encoded.features.batch(range(3)))
    assert loss_.count == count
    assert loss_.total.item() == pytest.approx(total, rel=1e-5)


def hub_batch(ids: list[int], decoder: list[int] | None = None) -> Any:
    from dataclasses import replace

    from jeoni.base.batch import Batch

    batch = Batch.pack([ids])
    return batch if decoder is None else replace(batch, decoder=Batch.pack([decoder]))


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_have_room_for_both_sides(family: str) -> None:
    task = make(family)
    features = task.encode(records(ROWS * 20)).features
    single = [features.batch([i]) for i in range(3)]
    sizes = [sum(b.lengths) + (sum(b.decoder.lengths) if b.decoder else 0) for b in single]
    assert features.lengths.tolist() == sizes * 20
    batches = EpochBatches(features, config=BatchConfig(size=60, micro_tokens=100), seed=0)
    for batch in batches.get(0, 0):
        written = sum(batch.decoder.lengths) if batch.decoder else 0
        assert sum(batch.lengths) + written <= 100
    batch = features.batch([2, 0])
    assert batch.examples == (2, 0)
    if batch.decoder is not None:
        assert len(batch.targets["written"]) == sum(batch.decoder.lengths)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_is_no_input(family: str) -> None:
    rows = [
        ("river", "water"),
        ("river", "the river and the bridge"),
        ("water river water", "water"),
    ]
    encoded = make(family).encode(records(rows * 10))
    bands = length_section("accuracy", encoded, Scores({}, [1.0] * 30))
    assert bands is not None
    assert [str(row["length"]).split()[1] for row in bands.rows] == ["(n=20)", "(n=10)"]


@pytest.mark.parametrize("family", FAMILIES)
def test_long_texts_are_cut_and_counted(family: str) -> None:
    task = make(family, max_source=12, max_target=9)
    encoded = task.encode(records([("river " * 40, "water " * 40), ("a", "b")]))
    assert len(encoded.prompt(0)) == 12
    assert list(encoded.notes.values()) == [1, 1]
    written = encoded.features.batch([0]).targets["written"]
    written = written[written >= 0]
    assert len(written) == 9
    assert written[-1] == task.model.tokenizer.eos_id


def test_positions_are_left_for_what_is_written() -> None:
    task = make("gpt2", max_source=500, max_target=100)
    encoded = task.encode(records([("river " * 200, "water " * 200)]), labeled=False)
    assert len(encoded.prompt(0)) == 28
    with pytest.raises(UserError, match="leave no room for a source"):
        make("gpt2", max_target=128).encode(records([("a", "b")]))


def test_what_is_written_is_what_the_model_writes() -> None:
    task = make("t5", max_target=8)
    encoded = task.encode(records(ROWS))
    found = task.decode(encoded, [2, 0], torch.empty(0))
    expected = task.model.generate([ROWS[2][0], ROWS[0][0]], max_new=8)
    assert [text for text, _ in found] == [(line.text or "").strip() for line in expected]
    assert len(task.logits(task.encode(records(ROWS), labeled=False).features.batch([0]))) == 0
    beams = make("t5", max_target=8, beams=3)
    expected = beams.model.generate([ROWS[2][0]], max_new=8, beams=3)
    ((text, _),) = beams.decode(encoded, [2], torch.empty(0))
    assert text == (expected[0].text or "").strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_probability_of_what_is_written(family: str) -> None:
    """The product of the words' own, each by a reading of what is before it."""
    task = make(family, max_target=5)
    task.model.eval()
    encoded = task.encode(records(ROWS))
    found = task.decode(encoded, [2, 0], torch.empty(0))
    for (_, chance), place in zip(found, [2, 0], strict=True):
        prompt = encoded.prompt(place)
        (line,) = task.model.generate([prompt], max_new=5)
        expected = 0.0
        for count, wanted in enumerate(line.ids):
            batch = task.layout.features([prompt], [[*line.ids[:count], 0]]).batch([0])
            state = task.logits(batch)[-1:]
            words = task.model.backbone.embeddings.words.weight
            logits = task.model.heads["language_model"](state, words)
            expected += float(logits.log_softmax(-1)[0, wanted])
        assert chance == pytest.approx(math.exp(expected), rel=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_written_text_rests_on(family: str) -> None:
    """The source's tokens, for the text itself; where one stack reads both, its own words too."""
    task = make(family, max_target=5)
    encoded = task.encode(records(ROWS * 8))
    found = evaluated(task, encoded, precision="fp32", show=False)
    shown = shared_sections(task, encoded, found.predictions, found.scores)
    assert [s.title for s in shown][-2:] == ["Calibration", "What predictions rest on"]
    (item, *_) = shown[-1].items
    place = [p.text or NOTHING for p in found.predictions].index(item.predicted)
    text = found.predictions[place].text
    batch = task.layout.features([encoded.prompt(place)], task.layout.written([text])[0]).batch([0])
    words = task.model.backbone.embeddings.words
    read: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        read.append(output.detach().requires_grad_())
        return read[-1]

    hook = words.register_forward_hook(keep)
    total = task(batch).total
    hook.remove()
    (slope,) = torch.autograd.grad(-total, read[:1])
    effects = (slope * read[0]).sum(-1)
    effects = effects / effects.abs().max()
    assert len(effects) == len(batch.ids)
    assert sum(p.weight for p in item.pieces) == pytest.approx(float(effects.sum()), abs=0.02)


def test_a_decoder_without_an_end_gets_one() -> None:
    """GPT-1's vocabulary has neither; the new rows are the mean of what they are cut into."""
    words = parts.tokenizer("gpt2")
    from dataclasses import replace

    from jeoni.text.tokenizer import Tokenizer

    bare = Tokenizer(replace(words._files, roles={}))
    model = parts.model("gpt2")
    model._tokenizer = bare
    before = model.spec.vocab
    table = model.backbone.embeddings.words.weight.detach().clone()
    task = TextToText(model=model, config=TextToTextConfig(**PLAIN, separator=" \x00"[:0]))
    assert model.spec.vocab == before + 2
    assert model.tokenizer.tokens[-2:] == ("<|end|>", "<|delimiter|>")
    assert task.encode(records([("a", "b")])).prompt(0)[-1] == before + 1
    new = model.backbone.embeddings.words.weight.detach()
    assert torch.equal(new[:before], table)
    pieces = words.pieces(["<|end|>"])[0].ids.tolist()
    assert torch.allclose(new[before], table[pieces].mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("bert", {}, "this bert model does not write"),
        ("t5", {"source": None}, "the data do not tell what the source is"),
        ("t5", {"target": "{label}"}, "x.jsonl, line 1: no column 'label'"),
        ("t5", {"metric": "final_number"}, "x.jsonl, line 1: no number behind '#### ' in 'water'"),
        ("bart", {"max_target": 2}, "leaves no room for text"),
    ],
)
def test_mistakes(family: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(family, **settings).encode(records(ROWS))


@pytest.mark.parametrize("name", ["source", "target", "references"])
def test_a_template_names_a_column(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"task.{name}: names of columns stand in braces: {{summary}}"
    ):
        parse(TextToTextConfig, {name: "summary"}, where="run.yaml", within="task")


def test_no_accepted_answer() -> None:
    with pytest.raises(UserError, match=r"x.jsonl, line 1: no answer is accepted"):
        make(metric="nq_open").encode(records([("who", [])]))
    make(metric="squad_v2").encode(records([("who", [])]))


# Scores


@pytest.mark.parametrize(
    ("metric", "gold", "texts", "main", "value"),
    [
        ("accuracy", ["yes", ["no", "never"]], ["yes", "never"], "accuracy", 1.0),
        ("squad_v1", [["the river"], "water"], ["a river", "bread"], "f1", 50.0),
        ("nq_open", [["The Rivér"], "water"], ["rivér", "bread"], "exact_match", 50.0),
        ("trivia_qa", ["well-known", "x"], ["well known", "y"], "exact_match", 50.0),
        ("final_number", ["so\n#### 1,200", "#### 3"], ["#### 1200", "3"], "accuracy", 0.5),
        ("rouge", ["a river near", "water"], ["a river near", "bread"], "rougeL", 50.0),
        ("chrf", ["river", "water"], ["river", "water"], "chrf", 100.0),
        ("bleu", ["a b c d e", "f g h i"], ["a b c d e", "f g h i"], "bleu", 100.0),
    ],
)
def test_scores(metric: str, gold: list[Any], texts: list[str], main: str, value: float) -> None:
    task = make(metric=metric)
    encoded = task.encode(records([("", one) for one in gold]))
    predictions = task.combine(encoded, [(text, 1.0) for text in texts])
    scores = task.score(encoded, predictions)
    assert task.main_metric == main
    assert scores.values[main] == pytest.approx(value)
    low, high = scores.intervals(task.main_metric)[task.main_metric]
    assert low - 1e-6 <= value <= high + 1e-6
    assert len(task.sections(encoded, predictions, scores)) == 3


def test_intervals_of_bleu_are_of_the_corpus() -> None:
    gold = ["a river near the bridge", "the water was old", "it is a picture of the sea"]
    said = ["a river near a bridge", "the water was new", "it is the picture of a sea"]
    task = make(metric="bleu")
    encoded = task.encode(records([("", one) for one in gold]))
    scores = task.score(encoded, task.combine(encoded, [(text, 1.0) for text in said]))
    assert scores.sums is not None
    total = scores.sums.rows.sum(0)
    assert TASK.sums["bleu"](total) == pytest.approx(scores.values["bleu"])
    low, high = scores.intervals(task.main_metric)[task.main_metric]
    assert low < scores.values["bleu"] < high


# A run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each word's answer is the next one."""
    rows = [{"q": a, "a": [b, "x"]} for a, b in zip(WORDS, WORDS[1:] + WORDS[:1], strict=True)]
    return lines(tmp_path_factory.mktemp("data") / "next.jsonl", rows)


@pytest.fixture(scope="module", params=["t5", "gpt2"])
def run(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    folder = tmp_path_factory.mktemp(request.param)
    model = parts.model(request.param).save(folder / "start")
    task = {"name": "text_to_text", "source": "next: {question}", "max_target": 12}
    own = {"train": str(data), "dev": str(data), "question": "q", "answers": "a"}
    train = {"steps": 150, "lr": 1e-2 if request.param == "t5" else 3e-3, "log_every": 50}
    return finetune(
        tiny.recipe(model, own, folder / "run", task=task, train=train, batch={"size": 8})
    )


def test_a_run_learns_and_is_used(run: FinetuneResult, data: Path, jeoni: Run) -> None:
    assert run.results["main_metric"] == "f1"
    assert run.metrics["exact_match"] == 100
    assert 0 < run.metrics["loss"] < 1
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "by words to be written" in report
    saved = json.loads((run.folder / "model" / "jeoni.json").read_text())
    assert saved["source"] == "next: {question}"
    same = evaluate(run.folder, {"dev": str(data), "question": "q", "answers": "a"})
    assert same["metrics"]["exact_match"] == 100
    found = jeoni("predict", "--model", str(run.folder), f"data.test={data}", "data.question=q")
    assert json.loads(found.out.splitlines()[2])["text"] == WORDS[3]
    assert generate(run.folder, ["river", "next: river"])[0].text.strip() == "bridge"  # type: ignore[union-attr]
    assert generate(run.folder, "next: river")[0].text.strip() == "bridge"  # type: ignore[union-attr]
    loaded = hub.load(run.folder)
    assert habits(loaded, {}) == {"max_new": 12, "beams": 1, "length_penalty": 1.0}
    assert "beams" not in habits(loaded, {"top_p": 0.9})
    assert len(generate(run.folder, ["river"], max_new=1)[0].ids) == 1
    assert jeoni("generate", "--model", str(run.folder), "valley").out.strip() == "forest"
    assert (
        jeoni("generate", "--model", str(run.folder), "valley", "--stream").out.strip() == "forest"
    )
    assert answer(run.folder, "water").text == "mountain"
    said = jeoni("answer", "--model", str(run.folder), "--question", "water")
    assert said.out == "mountain\n"
    user_error(jeoni("answer", "--model", str(run.folder), "--question", " "), "question is empty")


def test_hub_layout(run: FinetuneResult) -> None:
    model = hub.load(run.folder)
    assert list(model.heads) == ["language_model"]


# Published formats


def test_triviaqa_as_it_is_published(tmp_path: Path) -> None:
    """Made for the test in the layout of ``unfiltered-web-dev.json``."""
    answers = {
        "Value": "The Thames",
        "NormalizedAliases": ["thames", "river thames"],
        "Aliases": ["x"],
    }
    item = {
        "Question": "Which river runs through London?", "QuestionId": "q_1", "Answer": answers,
        "SearchResults": [{"Title": "t", "Rank": 1}], "EntityPages": [], "QuestionSource": "s",
    }  # fmt: skip
    whole = {"Data": [item], "Domain": "unfiltered-web", "Version": 1.0, "VerifiedEval": False}
    folder = tmp_path / "triviaqa"
    folder.mkdir()
    (folder / "unfiltered-web-dev.json").write_text(json.dumps(whole))
    bare = {k: v for k, v in item.items() if k != "Answer"}
    (folder / "unfiltered-web-test-without-answers.json").write_text(json.dumps({"Data": [bare]}))
    dataset = open_dataset(DataConfig(name="triviaqa", root=str(tmp_path)))
    found = from_data(dataset)
    assert found == {
        "source": "{question}", "target": "{target}", "references": "{answers}",
        "metric": "trivia_qa", "units": "words",
    }  # fmt: skip
    task = make(**found)
    records = dataset.split("dev")
    assert "SearchResults" not in records[0].fields
    encoded = task.encode(records)
    written = task.model.tokenizer.encode("The Thames").ids
    assert encoded.features.batch([0]).targets["written"].tolist() == written
    scores = task.score(encoded, task.combine(encoded, [("river-thames", 1.0)]))
    assert scores.values["exact_match"] == 100
    assert len(task.encode(dataset.split("test"), labeled=False).sizes) == 1


@pytest.mark.parametrize(
    ("name", "file", "rows", "source", "written"),
    [
        ("nq-open", "NQ-open.dev.jsonl", [{"question": "q", "answer": ["a", "b"]}], "q", "a"),
        ("gsm8k", "test.jsonl", [{"question": "q", "answer": "x\n#### 4"}], "q", "x\n#### 4"),
        (
            "chatbot-ko",
            "ChatbotData.csv",
            "Q,A,label\n안녕,반가워요,0\n잘,가,0\n",
            "안녕",
            "반가워요",
        ),
    ],
)
def test_published_files(
    name: str, file: str, rows: Any, source: str, written: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    path = tmp_path / name / file
    if isinstance(rows, str):
        path.write_text(rows, encoding="utf-8")
    else:
        lines(path, rows)
    dataset = open_dataset(DataConfig(name=name, root=str(tmp_path)))
    record = next(
        r for split in dataset.sources for r in dataset.split(split) if source in str(r.fields)
    )
    found = from_data(dataset)
    assert _templates.one(found["source"], record) == source
    assert _templates.each(found["target"], record, {})[0] == written


SHARED = Path(__file__).parents[1].parent / "shared" / "data"
AT_HAND = {"webquestions": 3023, "gsm8k": 6726, "chatbot-ko": 10640, "petitions-ko-title": 2634}


@pytest.mark.skipif(not SHARED.exists(), reason=f"no data at {SHARED}")
@pytest.mark.parametrize("name", ["koen-news", "enko-news", "nq-open", *AT_HAND])
def test_data_at_hand(name: str) -> None:
    dataset = open_dataset(DataConfig(name=name, root=str(SHARED)))
    records = dataset.split(next(iter(dataset.sources)))
    assert len(records) == AT_HAND.get(name, len(records))
    found = from_data(dataset)
    assert found["metric"] == dataset.metric
    assert found.get("max_target") == (256 if name == "gsm8k" else None)
    assert found["units"] == (
        "characters" if name in ("enko-news", "chatbot-ko", "petitions-ko-title") else "words"
    )
    for record in records[:50]:
        assert _templates.one(found["source"], record)
        assert _templates.each(found["target"], record, {})


def test_questions_and_passages_by_the_template() -> None:
    both = make(source="question: {question} context: {context}")
    assert both.asked("q", "c") == {"question": "q", "context": "c"}
    assert make(source="answer {Q}").asked("q", "") == {"question": "q", "context": "", "Q": "q"}


def test_nothing_written_is_said_in_the_report() -> None:
    _, wrong, _ = text_sections(["a b"], [["c"]], [""], [0.0], metric="f1", best=100.0)
    assert isinstance(wrong, Texts)
    assert [text.predicted for text in wrong.items] == ["(nothing)"]


@pytest.mark.parametrize(("best", "digits"), [(1.0, ".3f"), (100.0, ".1f")])
def test_fractions_have_three_digits(best: float, digits: str) -> None:
    bars, *_ = text_sections(["a"] * 25, [["b"]] * 25, ["c"] * 25, [0.0] * 25, metric="", best=best)
    assert isinstance(bars, Bars)
    assert bars.value_format == digits


def test_prompts_that_were_cut_are_told() -> None:
    with pytest.warns(UserWarning, match=r"^sources that fill max_source \(cut if longer\): 1$"):
        assert len(make(max_source=8).prompts(["river", "river " * 20])[1]) == 8
