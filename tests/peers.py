"""The same model twice: in ``transformers`` (eager, float32) and as a folder that jeoni loads.

What is here is right for encoders. A family that is called otherwise has ``peer_<family>.py`` beside
this file, with functions of the same name and arguments: ``fit``, ``make``, ``draw_batch``, ``run``,
``forward``, ``specs`` (see ``OWN``).
"""

import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig

import tiny
from jeoni.base import lookup
from jeoni.base.batch import Batch
from jeoni.models import hub
from jeoni.models.family import Family
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

Outputs = tuple[list[Tensor], dict[str, Tensor]]
"""Hidden states of all layers, and the logits of every head by kind."""
WEIGHTS = "model.safetensors"
SMALL = ArchSpec(
    vocab=101, hidden=48, layers=2, heads=3, feed_forward=40, width=48, positions=20, segments=2
)


def families() -> dict[str, Family]:
    """All that ``transformers`` has, too; for the others see ``peerless``."""
    names = [name for name in lookup.names(hub.FAMILIES) if own(name, "PEERLESS") is None]
    return {name: lookup.find(hub.FAMILIES, name, "FAMILY") for name in names}


def peerless() -> dict[str, str]:
    """Families that ``transformers`` does not have: the test that holds each to its paper instead."""
    found = {name: own(name, "PEERLESS") for name in lookup.names(hub.FAMILIES)}
    return {name: str(test) for name, test in found.items() if test is not None}


def presets() -> list[str]:
    """Of all families that ``transformers`` has, too."""
    return sorted(name for name, (family, _) in hub.presets().items() if family in families())


def architectures() -> list[tuple[str, str]]:
    """(family, class of transformers) for every row of every family's table."""
    return [(name, found) for name, data in families().items() for found in classes(data)]


def classes(family: Family) -> list[str]:
    return list(family.architectures.values())


def kinds_of(family: Family, architecture: str) -> frozenset[str]:
    return next(kinds for kinds, name in family.architectures.items() if name == architecture)


OWN = ("fit", "make", "draw_batch", "run", "forward")


def own(family: str, function: str) -> Callable[..., Any] | None:
    """The family's own version of a function of this file, if it has one."""
    module = f"peer_{family.replace('-', '_')}"
    if importlib.util.find_spec(module) is None:
        return None
    found: Callable[..., Any] | None = getattr(importlib.import_module(module), function, None)
    return found


def fit(spec: ArchSpec, family: Family) -> ArchSpec:
    """``spec`` as the family can have it: its fixed fields, no factorized width where it has none."""
    if special := own(family.name, "fit"):
        fitted: ArchSpec = special(spec, family)
        return fitted
    causal = spec.causal and "causal" in family.config
    spec = family.spec(**{**vars(spec), "causal": causal, **family.fixed})
    return spec if "width" in family.config else replace(spec, width=spec.hidden)


def config_values(family: Family, spec: ArchSpec) -> dict[str, Any]:
    """The keys of config.json that describe ``spec``."""
    values = dict(family.constants(spec))
    values |= {theirs: getattr(spec, ours) for ours, theirs in family.config.items()}
    return values | dict(family.write(spec) if family.write is not None else {})


def make(family: Family, architecture: str, spec: ArchSpec, seed: int = 0, **extra: Any) -> Any:
    """A model of ``transformers`` with every weight drawn anew: no zero bias, no norm of one."""
    if special := own(family.name, "make"):
        return special(family, architecture, spec, seed, **extra)
    config = AutoConfig.for_model(family.name, **(config_values(family, spec) | extra))
    model = getattr(transformers, architecture)._from_config(config, attn_implementation="eager")
    scramble(model, seed)
    return model.eval()


def scramble(model: Any, seed: int = 0) -> None:
    """Draw every weight anew: no zero bias, no norm of one."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        mean = 1.0 if parameter.dim() == 1 else 0.0
        parameter.data.normal_(mean, 0.2, generator=generator)


def computed(theirs: Any) -> set[str]:
    """Names of parameters that never train, as anyone can compute them (waves of positions)."""
    return {name for name, parameter in theirs.named_parameters() if not parameter.requires_grad}


def reload(folder: Path, architecture: str) -> tuple[Any, dict[str, Any]]:
    """A folder in ``transformers``, and what it says about keys that do not fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, info = getattr(transformers, architecture).from_pretrained(
            folder, attn_implementation="eager", output_loading_info=True
        )
    return model.eval(), info


def draw_batch(
    lengths: Sequence[int], spec: ArchSpec, seed: int = 0, family: str = "bert"
) -> Batch:
    if special := own(family, "draw_batch"):
        drawn: Batch = special(lengths, spec, seed)
        return drawn
    generator = torch.Generator().manual_seed(seed)
    # transformers gives RoBERTa's padding token no position, even in the middle of a sequence.
    padding = spec.position_offset - 1
    allowed = torch.tensor([i for i in range(spec.vocab) if i != padding])
    drawn = [torch.randint(len(allowed), (n,), generator=generator) for n in lengths]
    ids = [allowed[numbers].tolist() for numbers in drawn]
    kinds = max(spec.segments, 1)
    types = [torch.randint(kinds, (n,), generator=generator).tolist() for n in lengths]
    return Batch.pack(ids, types)


def run(theirs: Any, batch: Batch, vocab: int) -> Outputs:
    """Hidden states and logits of ``transformers`` on the batch, padded, then without the padding."""
    if special := own(theirs.config.model_type, "run"):
        right: Outputs = special(theirs, batch, vocab)
        return right
    longest = max(batch.lengths)
    real = torch.arange(longest) < torch.tensor(batch.lengths)[:, None]
    ids = torch.randint(vocab, real.shape)  # whatever is at padding must not matter
    ids[real] = batch.ids
    inputs = {"input_ids": ids, "attention_mask": real.long()}
    if getattr(theirs.config, "type_vocab_size", 0) > 1:
        segments = torch.zeros_like(ids)
        segments[real] = batch.segments
        inputs["token_type_ids"] = segments
    out = theirs(**inputs, output_hidden_states=True)
    logits = {}
    if "start_logits" in out:
        logits["span"] = torch.stack([out.start_logits, out.end_logits], -1)[real]
    if "prediction_logits" in out:
        logits["masked_lm"] = out.prediction_logits[real]
    for kind, name in OF_PAIRS.items():
        if name in out:
            logits[kind] = out[name]
    if "logits" in out:
        per_token = out.logits.shape[:2] == real.shape
        kind = _kind(type(theirs).__name__)
        logits[kind] = out.logits[real] if per_token and kind in PER_TOKEN else out.logits
    return [state[real] for state in out.hidden_states], logits


PER_TOKEN = {"masked_lm", "replaced_token", "tagging"}
OF_PAIRS = {"next_sentence": "seq_relationship_logits", "sentence_order": "sop_logits"}


def _kind(architecture: str) -> str:
    family = next(f for f in families().values() if architecture in classes(f))
    (kind,) = kinds_of(family, architecture)
    return kind


def logits_of(model: Model, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Logits of every head that the model has, by kind."""
    words = model.backbone.embeddings.words.weight
    call = {
        "span": lambda head: head(hidden),
        "classification": lambda head: head(hidden, batch),
        "tagging": lambda head: head(hidden),
        "next_sentence": lambda head: head(hidden, batch),
        "sentence_order": lambda head: head(hidden, batch),
        "masked_lm": lambda head: head(hidden, words),
        "replaced_token": lambda head: head(hidden),
        "language_model": lambda head: head(hidden, words),
    }
    return {kind: call[kind](head) for kind, head in model.heads.items()}


def forward(model: Model, batch: Batch) -> Outputs:
    """Hidden states and logits of jeoni."""
    if special := own(model.family.name, "forward"):
        mine: Outputs = special(model, batch)
        return mine
    states = model.backbone.states(batch)
    return states, logits_of(model, states[-1], batch)


def split(batch: Batch) -> list[Batch]:
    """Each sequence of the batch (and what goes with it to a decoder) as a batch of its own."""
    parts = zip(batch.ids.split(batch.lengths), batch.segments.split(batch.lengths), strict=True)
    singles = [Batch.pack([ids.tolist()], [types.tolist()]) for ids, types in parts]
    if batch.decoder is None:
        return singles
    decoders = split(batch.decoder)
    return [replace(one, decoder=own) for one, own in zip(singles, decoders, strict=True)]


def part(values: Tensor, batch: Batch, i: int) -> Tensor:
    """The rows of the ``i``-th sequence: one a token, one a token of the decoder, or one a sequence."""
    sides = [batch] if batch.decoder is None else [batch, batch.decoder]
    for side in sides:
        if len(values) == len(side.ids):
            return values.split(side.lengths)[i]
    assert len(values) == len(batch.lengths)
    return values[i : i + 1]


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def parameters_by_name(theirs: Any, family: Family) -> list[tuple[str, nn.Parameter]]:
    """Each parameter once; one with several names by one that a checkpoint has."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in theirs.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    chosen = {p: [n for n in found if n not in family.tied] for p, found in names.items()}
    return [((chosen[p] or names[p])[0], p) for p in names]


def write_checkpoint(folder: Path) -> Path:
    """A checkpoint as ``transformers`` writes it: BERT with both pretraining heads."""
    make(families()["bert"], "BertForPreTraining", SMALL).save_pretrained(folder)
    return folder


def edit_config(folder: Path, remove: tuple[str, ...] = (), **values: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in remove}))


def edit_weights(folder: Path, change: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    changed = change(tensors) or tensors
    save_file({k: v.clone() for k, v in changed.items()}, folder / WEIGHTS, {"format": "pt"})


def assert_same_outputs(first: Any, second: Any, tolerance: float = 1e-5) -> None:
    """Two models, each of ours or of ``transformers``, give the same states and logits."""
    family = first.family.name if isinstance(first, Model) else first.config.model_type
    spec = fit(SMALL, families()[family.replace("-", "_")])
    batch = draw_batch((7, 20, 1, 6), spec, family=family)
    outs = []
    with torch.no_grad():
        for model in (first, second):
            of_ours = isinstance(model, Model)
            outs.append(forward(model, batch) if of_ours else run(model, batch, 101))
    (states, logits), (right_states, right) = outs
    assert len(states) == len(right_states)
    for mine, theirs in zip(states, right_states, strict=True):
        assert error(mine, theirs) < tolerance
    assert logits.keys() == right.keys()
    for kind in logits:
        assert error(logits[kind], right[kind]) < tolerance


def fresh(family: str = "bert", *kinds: str, seed: int = 0, **changes: Any) -> Model:
    """A small model of ours with heads, all weights away from their defaults."""
    spec = fit(replace(SMALL, **changes), families()[family])
    model = hub.create(family, spec, tokenizer=None, seed=seed)
    for kind in kinds:
        model.add_head(kind, build_head(kind, model, {"out.weight": torch.empty(3, 48)}))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2, generator=generator)
    return model


def reader(family: str, **changes: Any) -> Model:
    """The same with the tiny data's vocabulary: reads texts."""
    words = tiny.tokenizer()
    spec = fit(replace(SMALL, vocab=words.vocab_size, **changes), families()[family])
    return hub.create(family, spec, tokenizer=words, seed=0)


def read_to_end(folder: Path) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may be left unread
        return hub.load(folder)
