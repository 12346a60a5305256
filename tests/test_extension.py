"""A longer vocabulary: old ids stay, texts become shorter, the model starts from what it knew."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.prepare.pipeline import prepare
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.models import hub
from jeoni.models.growth import grow
from jeoni.recipes.pretrain import pretrain
from jeoni.text import extension
from jeoni.text.extension import extended
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train

FAMILIES = ["bert", "roberta", "gpt2", "t5", "xlnet"]
TEXTS = [sentence for document in parts.documents() for sentence in document]
NEW = ["the river is near.", "서울에서 학생들은 여행하는 사람들이.", "unheard wordings 강나루"]
TRAIN = {"steps": 2, "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def longer() -> dict[str, Tokenizer]:
    return {family: extended(parts.tokenizer(family), TEXTS, 30) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_old_ids_stay_and_texts_become_shorter(family: str, longer: dict[str, Tokenizer]) -> None:
    old, new = parts.tokenizer(family), longer[family]
    count = len(old.tokens)
    assert new.tokens[:count] == old.tokens
    assert 10 < len(new.tokens) - count <= 30
    assert len(set(new.tokens)) == len(new.tokens)
    before, after = (sum(len(e.ids) for e in t.encode_batch(TEXTS)) for t in (old, new))
    assert after < 0.9 * before
    used = {id for encoding in new.encode_batch(TEXTS) for id in encoding.ids}
    assert len([id for id in used if id >= count]) > 5
    again = extended(parts.tokenizer(family), TEXTS, 30)
    assert again.tokens == new.tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_offsets_are_exact_and_nothing_new_is_unknown(
    family: str, longer: dict[str, Tokenizer]
) -> None:
    old, new = parts.tokenizer(family), longer[family]
    texts = TEXTS[:40] + NEW
    for text, before, after in zip(texts, old.pieces(texts), new.pieces(texts), strict=True):
        covered = [
            {n for a, b in pieces.offsets.tolist() for n in range(a, b) if not text[n].isspace()}
            for pieces in (before, after)
        ]
        assert covered[0] == covered[1]
        unknown = [int((pieces.ids == old.unk_id).sum()) for pieces in (before, after)]
        assert unknown[1] <= unknown[0]
        if family == "bert":
            for id, (start, end) in zip(after.ids.tolist(), after.offsets.tolist(), strict=True):
                assert id == old.unk_id or text[start:end] == new.tokens[id].removeprefix("##")
        else:  # cut as before, then put together
            assert set(after.offsets[:, 0].tolist()) <= set(before.offsets[:, 0].tolist())


@pytest.mark.parametrize("family", FAMILIES)
def test_others_read_it(family: str, longer: dict[str, Tokenizer], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    new = longer[family]
    new.save(tmp_path)
    ids = [encoding.ids for encoding in new.encode_batch(TEXTS[:20])]
    assert [e.ids for e in Tokenizer.from_folder(tmp_path).encode_batch(TEXTS[:20])] == ids
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(TEXTS[:20])["input_ids"] == ids


def test_a_word_that_would_have_no_end_is_left_alone(tmp_path: Path) -> None:
    """With ``abc`` in the vocabulary, ``abcd`` would be cut behind it, and ``##d`` there is none."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##c", "##cd", "xy", "##z"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    old = Tokenizer.from_vocab(tmp_path / "vocab.txt")
    new = extended(old, ["abc abc abc abcd xyz xyz"], 5)
    assert new.tokens[len(tokens) :] == ("xyz",)
    assert new.encode("abcd").tokens == ["[CLS]", "ab", "##cd", "[SEP]"]


def test_what_cannot_be_extended() -> None:
    syllables = train(TEXTS, kind="syllable", vocab_size=100)
    with pytest.raises(UserError, match="cannot be extended"):
        extended(syllables, TEXTS, 5)
    with pytest.raises(UserError, match="the same pieces twice"):
        extended(parts.tokenizer("bert"), ["the"], 5)


def test_a_model_grows_by_means(longer: dict[str, Tokenizer], tmp_path: Path) -> None:
    model = parts.model("bert", vocab=parts.tokenizer("bert").vocab_size + 2)
    parts.mixture("masked_lm", model)
    bias = torch.randn(model.spec.vocab)
    model.heads["masked_lm"].bias.data.copy_(bias)
    model.save(tmp_path)
    model = hub.load(tmp_path)
    old, table = model.tokenizer, model.backbone.embeddings.words.weight.detach().clone()
    ids = list(old.encode("the river").ids)
    before = model.hidden_states([ids])[0]
    new = longer["bert"]
    count = grow(model, new)
    known = len(old.tokens)
    assert count == len(new.tokens) - known
    grown = model.backbone.embeddings.words.weight.detach()
    assert len(grown) == model.spec.vocab == len(table) + count
    assert torch.equal(grown[:known], table[:known])
    assert torch.equal(grown[-2:], table[-2:])  # rows without a token
    np.testing.assert_array_equal(model.hidden_states([ids])[0], before)
    parts.mixture("masked_lm", model)
    head = model.heads["masked_lm"]
    for row, own in enumerate(extension.parts(old, new.tokens[known:]), start=known):
        assert len(own) > 1
        torch.testing.assert_close(grown[row], table[own].mean(0))
        torch.testing.assert_close(head.bias[row], bias[own].mean())
    assert not any(name.startswith("heads.") for name in model.fresh)
    assert grow(model, new) == 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny pretrained model, and a text."""
    folder = tmp_path_factory.mktemp("start")
    text = folder / "text.txt"
    text.write_text("\n\n".join("\n".join(d) for d in parts.documents()) + "\n", encoding="utf-8")
    model = parts.model("bert")
    parts.mixture("masked_lm", model)
    return model.save(folder / "model"), text


def recipe(checkpoint: tuple[Path, Path], out: Path, **others: Any) -> dict[str, Any]:
    data = {"text": str(checkpoint[1]), "held_out": 0.2}
    start = {"model": str(checkpoint[0]), "objectives": "masked_lm", "data": data, "out": str(out)}
    return {**start, "length": 32, "train": TRAIN, "tokenizer": {"add": 20}, **others}


def test_from_a_checkpoint_to_a_model_with_more_tokens(
    checkpoint: tuple[Path, Path], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    result = pretrain(recipe(checkpoint, tmp_path / "run"))
    added = result.results["data"]["added_tokens"]
    assert 0 < added <= 20
    model = hub.load(result.folder)
    assert (
        model.spec.vocab == model.tokenizer.vocab_size == parts.tokenizer("bert").vocab_size + added
    )
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(result.folder / "model").eval()
    ids = torch.tensor([list(model.tokenizer.encode(TEXTS[0]).ids)])
    assert int(ids.max()) >= parts.tokenizer("bert").vocab_size
    with torch.no_grad():
        output = theirs(ids, output_hidden_states=True)
    assert output.logits.shape[-1] == model.spec.vocab
    states = model.hidden_states([ids[0].tolist()])[0]
    np.testing.assert_allclose(states[-1], output.hidden_states[-1][0].numpy(), atol=1e-5)


def test_a_store_with_more_tokens(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    """Prepared apart, with a tokenizer that extends the model's."""
    extended(parts.tokenizer("bert"), TEXTS, 7).save(tmp_path / "tokenizer")
    config = PrepareConfig(
        inputs=(str(checkpoint[1]),), tokenizer=str(tmp_path / "tokenizer"), held_out=0.2
    )
    prepare(config, tmp_path / "store")
    store = {"data": str(tmp_path / "store")}
    result = pretrain(recipe(checkpoint, tmp_path / "run", tokenizer={}, **store))
    assert result.results["data"]["added_tokens"] == 7
    with pytest.raises(UserError, match="made already"):
        pretrain(recipe(checkpoint, tmp_path / "other", **store))


def test_a_preset_has_a_size_instead(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size"):
        pretrain(recipe(checkpoint, tmp_path / "run", model="bert-L2-H128"))
