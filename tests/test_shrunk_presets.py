"""Presets with other sizes, and what of config.json is read back: nothing may be lost on the way."""

from pathlib import Path
from typing import Any

import pytest

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data import catalog
from jeoni.models import hub
from jeoni.models.config_file import read_spec, written
from jeoni.models.convert import convert
from jeoni.models.spec import ArchSpec
from jeoni.recipes import build
from jeoni.recipes.plan import plan
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.text.tokenizer import Tokenizer

SMALL = {"hidden": 32, "heads": 2, "layers": 1}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    return Tokenizer.from_vocab(vocab, lowercase=True)


def shrunk(preset: str, sizes: dict[str, int], tokenizer: Tokenizer) -> ArchSpec:
    recipe = parse(
        FinetuneRecipe, {"model": preset, "data": {"name": "squad-sample"}, "spec": sizes}, where=""
    )
    dataset = catalog.open_dataset(recipe.data)
    return build.model(recipe, dataset, seed=1, tokenizer=tokenizer).spec


@pytest.mark.parametrize("name", sorted(hub.presets()))
def test_config_file_says_all_of_a_preset(name: str) -> None:
    family_name, spec = hub.presets()[name]
    family = hub.own_family(family_name)
    assert read_spec(family, written(family, spec), name) == spec


def test_marian_starts_with_the_padding_token_of_a_learned_vocabulary(tokenizer: Tokenizer) -> None:
    spec = shrunk("transformer-base", {**SMALL, "decoder_layers": 1}, tokenizer)
    assert (spec.decoder_start, spec.decoder_layers) == (tokenizer.pad_id, 1)


def test_t5_scales_its_output_by_the_width_it_has(tokenizer: Tokenizer) -> None:
    spec = shrunk("t5-small", {**SMALL, "decoder_layers": 1}, tokenizer)
    assert spec.output_scale == 32**-0.5
    assert spec.decoder_layers == 1


def test_heads_of_a_size_of_their_own_need_not_divide_the_width(tokenizer: Tokenizer) -> None:
    spec = shrunk("t5-v1_1-small", {"layers": 1, "decoder_layers": 1}, tokenizer)
    assert (spec.hidden, spec.heads, spec.head_size) == (512, 6, 64)


@pytest.mark.parametrize(
    ("preset", "sizes", "expected"),
    [  # (hidden, feed_forward, width)
        ("albert-base-v2", SMALL, (32, 128, 128)),  # factorized, as it is published
        ("electra-small-generator", SMALL, (32, 128, 128)),
        ("bert-base", SMALL, (32, 128, 32)),
        ("electra-base", SMALL, (32, 128, 32)),
        ("albert-base-v2", {**SMALL, "width": 16}, (32, 128, 16)),
        ("bert-base", {**SMALL, "feed_forward": 48}, (32, 48, 32)),
        ("t5-v1_1-small", {"hidden": 64, "layers": 1, "decoder_layers": 1}, (64, 128, 64)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_width_keeps_the_proportions(
    preset: str, sizes: dict[str, int], expected: tuple[int, ...], tokenizer: Tokenizer
) -> None:
    spec = shrunk(preset, sizes, tokenizer)
    assert (spec.hidden, spec.feed_forward, spec.width) == expected


def test_positions_of_roberta_can_be_fewer(tokenizer: Tokenizer) -> None:
    assert shrunk("roberta-base", {**SMALL, "positions": 64}, tokenizer).positions == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_layers": 0}, "one stack of an encoder-decoder"),
        ({"decoder_start": 7}, "starts with id 7"),
    ],
)
def test_a_preset_that_no_config_file_could_hold(
    changes: dict[str, int], message: str, tokenizer: Tokenizer
) -> None:
    with pytest.raises(UserError, match=message):
        shrunk("bart-base", {**SMALL, **changes}, tokenizer)


@pytest.mark.parametrize(
    ("preset", "key", "value"),
    [
        ("xlnet-base-cased", "d_head", {}),
        ("xlnet-base-cased", "architectures", 1),
        ("roberta-base", "architectures", True),
        ("t5-small", "architectures", [5]),
        ("t5-small", "d_kv", "64"),
        ("t5-small", "d_kv", 0),
    ],
)
def test_config_file_with_a_value_of_another_type(preset: str, key: str, value: object) -> None:
    family_name, spec = hub.presets()[preset]
    family = hub.own_family(family_name)
    with pytest.raises(UserError, match=key):
        read_spec(family, {**written(family, spec), key: value}, "config.json")


def test_convert_into_the_empty_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer
) -> None:
    small = ArchSpec(vocab=7, hidden=8, layers=1, heads=2, feed_forward=8, width=8, positions=8)
    source = hub.save(hub.create("bert", small, tokenizer=tokenizer), tmp_path / "source")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    convert(source, ".")
    assert hub.load(here).spec == small


@pytest.mark.parametrize(
    ("numbers", "message"),
    [({"sequence": 513}, "there are 512 positions"), ({"batch_tokens": 0}, "batch_tokens")],
)
def test_plan_that_cannot_be(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan("bert-base", tokens=1e9, **numbers)
