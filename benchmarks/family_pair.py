"""A family's model twice, here and in transformers, with the same weights, batch and loss."""

import random
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.base.files import read_json, write_json
from jeoni.base.runtime import autocast
from jeoni.data.readers import read
from jeoni.models import hub
from jeoni.models.decoding import shift_right
from jeoni.models.family import Family
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.ops.losses import cross_entropy

SAMPLE = "squad-sample-dev.json.zst"
IGNORED = -100
MASKED = 0.15
FIRST_ID = 10  # below are special ids: transformers gives padding no position
Systems = dict[str, tuple[Callable[[], Tensor], nn.Module]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the models and the batch."""

    layers: int
    hidden: int
    vocab: int
    sequences: int
    longest: int


SIZES = {
    "quick": Size(layers=2, hidden=64, vocab=500, sequences=4, longest=48),
    "small": Size(layers=4, hidden=256, vocab=30522, sequences=8, longest=384),
    "base": Size(layers=12, hidden=768, vocab=30522, sequences=16, longest=384),
}


def peerless(family: str) -> str | None:
    """Why there is nothing to compare a family with, if there is not."""
    name = hub.own_family(family).name
    return None if name in transformers.CONFIG_MAPPING else "transformers does not have it"


def lengths(size: Size, seed: int = 0) -> list[tuple[int, int]]:
    """(tokens of question and passage, tokens of the question) of some of SQuAD's questions."""
    path = resources.files("jeoni.data") / "samples" / SAMPLE
    with resources.as_file(path) as file:
        records = random.Random(seed).sample(list(read(file)), size.sequences)
    found = []
    for record in records:
        question, passage = (
            len(re.findall(r"\w+|[^\w\s]", record.fields[key])) for key in ("question", "context")
        )
        found.append((min(question + passage + 3, size.longest), min(question + 2, size.longest)))
    return found


def sized(family: Family, size: Size) -> ArchSpec:
    """The family's first preset at another size."""
    spec = next(iter(family.presets.values()))
    heads = size.hidden // 64
    width = size.hidden if spec.width == spec.hidden else size.hidden // 2
    return replace(
        spec,
        vocab=size.vocab,
        hidden=size.hidden,
        layers=size.layers,
        decoder_layers=size.layers if spec.decoder_layers else 0,
        heads=heads,
        head_size=spec.head_size and size.hidden // heads,
        feed_forward=4 * size.hidden,
        width=width,
        output_scale=1.0 if spec.output_scale == 1.0 else size.hidden**-0.5,
        positions=max(size.longest, 64),
        decoder_start=spec.decoder_start if spec.decoder_start < size.vocab else 0,
    )


def save(model: Model, folder: Path) -> None:
    """Write a model; special ids that its smaller vocabulary does not have are its first."""
    model.save(folder)
    config = read_json(folder / "config.json")
    for name, value in config.items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= model.spec.vocab:
            config[name] = 0
    write_json(folder / "config.json", config)


def task(family: Family) -> frozenset[str]:
    """What it is compared in: masked words, writing in order, or nothing but the body."""
    spec = next(iter(family.presets.values()))
    kinds = ["masked_lm"] + ["language_model"] * (spec.causal or spec.decoder_layers > 0)
    for kind in kinds:
        if frozenset({kind}) in family.architectures:
            return frozenset({kind})
    return frozenset()


class Pair:
    """One family's two models.

    Args:
        family: file name.
        size: of both.
        folder: where the weights pass from one to the other.
        device: of both.
        precision: of both, ``bf16`` or ``fp32``.
    """

    def __init__(
        self, family: str, size: Size, folder: Path, device: torch.device, precision: str
    ) -> None:
        self.device, self.precision = device, precision
        data = hub.own_family(family)
        kinds = task(data)
        self.kind = next(iter(kinds), None)
        self.architecture = data.architectures[kinds]
        ours = hub.create(family, sized(data, size), tokenizer=None)
        for kind in kinds:
            ours.add_head(kind, build_head(kind, ours, {}))
        save(ours, folder)
        self.ours = ours.to(device)
        self.theirs = self._load(folder)
        self._draw(size)

    def _load(self, folder: Path) -> dict[str, Any]:
        """The models of transformers, one for each attention that it has for the family."""
        models = {}
        found = getattr(transformers, self.architecture)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        for attention in ("sdpa", "eager"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = found.from_pretrained(folder, attn_implementation=attention)
            except ValueError as problem:
                if "attention" not in str(problem):
                    raise
                continue
            model.config.use_cache = False
            models[attention] = model.to(self.device)
        return models

    def _draw(self, size: Size) -> None:
        """Random ids of real lengths; targets by the task; for transformers the same, padded."""
        generator = torch.Generator().manual_seed(0)
        spec = self.ours.spec
        chosen = lengths(size)

        def ids(counts: list[int]) -> list[list[int]]:
            return [
                torch.randint(FIRST_ID, spec.vocab, (n,), generator=generator).tolist()
                for n in counts
            ]

        read_ids = ids([whole for whole, _ in chosen])
        batch = Batch.pack(read_ids)
        self.inputs = {
            "input_ids": padded(batch.ids, batch.lengths, 0),
            "attention_mask": padded(torch.ones_like(batch.ids), batch.lengths, 0),
        }
        wanted = Batch.pack(read_ids if not spec.decoder_layers else ids([q for _, q in chosen]))
        targets = wanted.ids.clone()
        if self.kind == "masked_lm":
            targets[torch.rand(len(targets), generator=generator) >= MASKED] = IGNORED
        if self.kind is not None:
            self.inputs["labels"] = padded(targets, wanted.lengths, IGNORED)
        elif spec.decoder_layers:
            self.inputs["decoder_input_ids"] = padded(wanted.ids, wanted.lengths, 0)
        if spec.decoder_layers:
            again = shift_right(wanted.ids, wanted.lengths, spec.decoder_start)
            batch = replace(batch, decoder=again if self.kind else wanted)
        elif self.kind == "language_model":  # the state before a token writes it
            targets = targets.roll(-1)
            targets[torch.tensor(batch.ends)] = IGNORED
        self.real = padded(torch.ones_like(wanted.ids), wanted.lengths, 0).bool().to(self.device)
        self.batch = batch.to(self.device)
        self.places = (targets != IGNORED).nonzero().flatten().to(self.device)
        self.wanted = targets.to(self.device)[self.places]
        self.inputs = {name: values.to(self.device) for name, values in self.inputs.items()}

    def systems(self) -> Systems:
        """By name: the loss of the batch (a scalar with a gradient), and the model."""
        found: Systems = {"jeoni": (self.our_loss, self.ours)}
        for name, model in self.theirs.items():
            found[name] = (lambda model=model: self.their_loss(model), model)
        return found

    def our_loss(self) -> Tensor:
        """Mean cross-entropy; of a body alone the mean square of its states."""
        with autocast(self.precision, self.device):
            hidden = self.ours(self.batch)
            if self.kind is None:
                return hidden.float().square().mean()
            words = self.ours.backbone.embeddings.words.weight
            logits = self.ours.heads[self.kind](hidden[self.places], words)
            return cross_entropy(logits, self.wanted) / len(self.wanted)

    def their_loss(self, model: Any) -> Tensor:
        """The same of transformers."""
        with autocast(self.precision, self.device):
            out = model(**self.inputs)
            if self.kind is not None:
                return out.loss
            return out.last_hidden_state[self.real].float().square().mean()

    def check(self) -> float:
        """Largest relative difference of the losses, without dropout.

        Raises:
            ValueError: they differ, so times would not be of the same thing.
        """
        losses = {}
        with torch.no_grad():
            for name, (loss, model) in self.systems().items():
                model.eval()
                losses[name] = float(loss())
        right = losses["jeoni"]
        worst = max(abs(value / right - 1) for value in losses.values())
        if not worst < (2e-2 if self.precision == "bf16" else 1e-4):
            raise ValueError(f"{self.architecture}: the losses differ: {losses}")
        return worst


def padded(values: Tensor, counts: tuple[int, ...], filler: int) -> Tensor:
    """Packed values ``[N]`` as ``[B, T]``."""
    return nn.utils.rnn.pad_sequence(
        values.split(counts), batch_first=True, padding_value=float(filler)
    )
