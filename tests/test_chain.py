"""Tags judged together: the library's chain against all sequences there are; and a tagger with one."""

import itertools
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import tiny
from jeoni.base.errors import UserError
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.serving.tagger import tag
from jeoni.tasks._chain import best_paths, chain, chain_loss
from jeoni.tasks.tagging import HEAD
from test_tagging import LABELS, SENTENCES, make, words

COUNTS = [3, 0, 1, 4]


def drawn(tags: int, seed: int = 0) -> torch.nn.Module:
    made = chain(tags).double()
    generator = torch.Generator().manual_seed(seed)
    for weight in made.parameters():
        weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return made


def scores(made: torch.nn.Module, logits: Tensor) -> dict[tuple[int, ...], float]:
    """Of every sequence of tags: the sum of what its tags, its steps, its start and its end say."""
    start, end, steps = (getattr(made, f"{n}transitions").detach() for n in ("start_", "end_", ""))
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        total = start[path[0]] + end[path[-1]]
        total = total + sum(logits[i, t] for i, t in enumerate(path))
        total = total + sum(steps[a, b] for a, b in itertools.pairwise(path))
        found[path] = float(total)
    return found


@pytest.mark.parametrize("tags", [2, 3, 4])
def test_as_all_sequences_say(tags: int) -> None:
    made = drawn(tags)
    generator = torch.Generator().manual_seed(tags)
    logits = torch.randn(sum(COUNTS), tags, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(0, tags, (sum(COUNTS),), generator=generator)
    loss = 0.0
    paths: list[int] = []
    chances: list[float] = []
    for own, gold in zip(torch.split(logits, COUNTS), torch.split(target, COUNTS), strict=True):
        if not len(own):
            continue
        every = scores(made, own)
        norm = float(torch.logsumexp(torch.tensor(list(every.values())).double(), 0))
        loss += norm - every[tuple(gold.tolist())]
        best = max(every, key=lambda path: every[path])
        paths += best
        share = {path: torch.exp(torch.tensor(score - norm)) for path, score in every.items()}
        chances += [
            float(sum(p for path, p in share.items() if path[i] == t)) for i, t in enumerate(best)
        ]
    assert chain_loss(made, logits, target, COUNTS).item() == pytest.approx(loss, abs=1e-4)
    with torch.inference_mode():
        found, sure = best_paths(made, logits.clone(), COUNTS)
    assert found.tolist() == paths
    assert sure.tolist() == pytest.approx(chances, abs=1e-4)


def test_probabilities_of_long_sentences_are_none_above_1() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 9, generator=generator) * 14
    _, sure = best_paths(drawn(9).float(), logits, [400])
    assert 0.99 < sure.max() <= 1
    assert sure.min() >= 0


def test_nothing_to_judge() -> None:
    made, none = chain(2), torch.zeros(0, 2, requires_grad=True)
    total = chain_loss(made, none, torch.zeros(0, dtype=torch.int64), [0, 0])
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0
    assert [len(part) for part in best_paths(made, none.detach(), [0, 0])] == [0, 0]


def test_a_new_chain_changes_nothing() -> None:
    plain, chained = make(), make(crf=True)
    encoded = chained.encode(words())
    batch = encoded.features.batch(range(4))
    logits = plain.logits(batch)
    assert torch.equal(logits, chained.logits(batch))
    one, other = plain.loss(logits, batch), chained.loss(logits, batch)
    assert one.count == other.count
    torch.testing.assert_close(one.total, other.total, rtol=1e-5, atol=1e-5)
    both = [task.decode(encoded, range(4), logits.detach()) for task in (plain, chained)]
    for kept, again, sentence in zip(*both, encoded.sentences, strict=True):
        carrying = (sentence.units >= 0).tolist()
        for side, other_side in zip(kept, again, strict=True):
            own = [x for x, c in zip(side, carrying, strict=True) if c]
            assert own == pytest.approx(
                [x for x, c in zip(other_side, carrying, strict=True) if c], abs=1e-5
            )


def test_the_chain_forbids_what_follows_nothing() -> None:
    """An inside tag that follows no beginning is likeliest token by token, and never in the chain."""
    task = make(crf=True)
    made = task.chain
    assert made is not None
    inside, beginning = LABELS.index("I-LOC"), LABELS.index("B-LOC")
    with torch.no_grad():
        made.transitions[:, inside] = -100.0  # type: ignore[index,operator]
        made.transitions[beginning, inside] = 0.0  # type: ignore[index,operator]
        made.start_transitions[inside] = -100.0  # type: ignore[index,operator]
    encoded = task.encode(words([(["a", "b"], ["O", "O"])]))
    logits = torch.zeros(4, len(LABELS))
    logits[2, inside] = 9.0  # [CLS] a b [SEP]
    (kept,) = task.decode(encoded, [0], logits)
    assert kept[0] == [beginning, inside]


def test_trained_saved_and_used(tiny_folder: Path, tmp_path: Path) -> None:
    conll = tmp_path / "train.conll"
    rows = ("\n".join(map("\t".join, zip(t, tags, strict=True))) for t, tags in SENTENCES)
    conll.write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    data = {"train": str(conll), "dev": str(conll)}
    recipe = tiny.recipe(tiny_folder, data, tmp_path / "run", train={"epochs": 20, "lr": 1e-2})
    run = finetune(recipe, "task.max_length=64", "task.crf=true", "task.scheme=BIOES")
    assert run.metrics["entity_f1"] > 0.9
    found = evaluate(run.folder, {"dev": str(conll)})
    assert found["metrics"]["entity_f1"] == run.metrics["entity_f1"]
    assert found["metrics"]["loss"] == pytest.approx(run.metrics["loss"], rel=0.01)  # in bf16
    (tagged,) = tag(run.folder, "The Han River flows")
    assert [(s.text, s.tag) for s in tagged.spans] == [("Han River", "LOC")]
    assert 0 < tagged.spans[0].probability <= 1
    told = json.loads((run.folder / "model" / "jeoni.json").read_text())
    assert told["crf"] is True


def test_a_chain_that_was_not_trained(tmp_path: Path) -> None:
    task = make()
    task.model.settings = task.settings()
    task.model.save(tmp_path)
    with pytest.raises(UserError, match="no trained head"):
        tag(tmp_path, "a film", crf=True)


def test_a_chain_put_on_and_taken_off() -> None:
    """What a token says by itself stays, as trained or as drawn as it was."""
    task = make()
    model, out = task.model, f"heads.{HEAD}.out.weight"
    before = task.model.heads[HEAD].state_dict()
    assert out in model.fresh
    model.fresh -= {out, f"heads.{HEAD}.out.bias"}  # as if they had been loaded
    make(model, crf=True)
    assert {name.split(".")[2] for name in model.fresh if name.startswith("heads.")} == {"chain"}
    after = model.heads[HEAD].state_dict()
    assert after.keys() > before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    make(model)
    assert not any(name.startswith("heads.") for name in model.fresh)
    assert model.heads[HEAD].state_dict().keys() == before.keys()
    assert torch.equal(model.state_dict()[out], before["out.weight"])
    drawn = make()
    make(drawn.model, crf=True)
    assert out in drawn.model.fresh


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcrf", None)
    with pytest.raises(UserError, match=r"needs the package pytorch-crf\n.*jeoni\[crf\]"):
        make(crf=True)
