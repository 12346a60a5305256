"""What task types that read a text, or a pair of texts, have in common.

Sources: Devlin et al., "BERT", 2019, section 4 (``[CLS] text [SEP] pair [SEP]``, judged by the first
token); Radford et al., "Improving language understanding by generative pre-training", 2018, section 3.3
and figure 1 (start, text, delimiter, pair, extract, judged by the last token), section 3.2 (language
modeling besides).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features, Grouped
from jeoni.data.record import Record, text_field
from jeoni.models.heads import classification_head, language_model_head
from jeoni.models.model import Model
from jeoni.ops.vocabulary import vocabulary_loss
from jeoni.tasks._find import made_from
from jeoni.tasks._marks import marks
from jeoni.tasks._task import Partial, Prediction, Task
from jeoni.text.encoding import longest_first

HEAD = "classification"
"""The kind of head, by which published checkpoints know one with a single output, too."""
START, DELIMITER, EXTRACT = "<|start|>", "<|delimiter|>", "<|extract|>"
Sequences = tuple[list[list[int]], list[list[int]]]
"""Ids and segments of each sequence."""


class TextsConfig(Config):
    """Settings of tasks that judge texts.

    Attributes:
        max_length: longest sequence in tokens; longer texts are cut at the end.
        traversal: where a token sees only those before it (GPT): a token before, between and behind the
            texts, new in the vocabulary if it has none; by default, unless the model has a head that was
            trained without. Tokenizers that put special tokens there do so anyway.
        lm_weight: how much language modeling of the texts counts beside the task (Radford et al.: 0.5); for
            models that see only what is before.
    """

    max_length: int = Field(128, ge=1)
    traversal: bool | None = None
    lm_weight: float = Field(0.0, ge=0, allow_inf_nan=False)


class JudgedConfig(TextsConfig):
    """The same, where there may be pairs.

    Attributes:
        both_orders: read a pair in both orders, and add up what the head says of each: for similarity, in
            which neither text is the first (Radford et al., 2018, section 3.3).
    """

    both_orders: bool = False


class TextTask(Task[Partial, Prediction]):
    """A task type whose head judges texts."""

    config: TextsConfig

    def prepare(self) -> None:
        """Decide how texts are laid out; call it before the head is there, which a new token takes off.

        Raises:
            UserError: a setting for models of another kind.
        """
        model, config = self.model, self.config
        forward = model.spec.causal and not model.spec.decoder_layers
        for name in ("traversal", "lm_weight"):
            if getattr(config, name) and not forward:
                raise UserError(
                    f"task.{name}: the model's tokens see what comes next",
                    hint="it is for models that read from left to right (gpt2)",
                )
        if config.lm_weight and model.features is not None:
            raise UserError("task.lm_weight is for models that train, not for their features")
        wanted = config.traversal
        if wanted is None:  # tokens that are new learn nothing in a backbone that stays as it is
            untrained = HEAD not in model.heads and not model.frozen
            wanted = model.settings.get("traversal", untrained)
        self.marks: list[int] | None = None
        if wanted and forward and model.tokenizer.special_count(pair=True) < 3:
            tokenizer = model.tokenizer
            roles = {
                START: tokenizer.bos_id,
                DELIMITER: tokenizer.sep_id,
                EXTRACT: tokenizer.cls_id,
            }
            new = [name for name, id in roles.items() if id is None]
            roles |= dict(zip(new, marks(model, *new), strict=True))
            self.marks = [id for id in roles.values() if id is not None]

    def keep_head(self) -> torch.nn.Module | None:
        """The model's head for the task, if it has one, and no other."""
        head = self.model.keep_head(HEAD)
        self.writes: Any = None
        if self.config.lm_weight:
            self.writes = language_model_head(self.model)
            if next(self.writes.parameters(), None) is not None:  # it is not all word table
                self.model.add_head("language_model", self.writes)
        return head

    def own_settings(self) -> dict[str, Any]:
        """The settings, with what was decided."""
        forward = self.model.spec.causal and not self.model.spec.decoder_layers
        decided = {"traversal": self.marks is not None} if forward else {}
        return {**self.config.model_dump(), **decided}

    def sequences(self, records: Sequence[Record]) -> tuple[Sequences, Mapping[str, int]]:
        """One sequence of each record's text, or pair of texts, and what to note of them."""
        texts = [text_field(record, "text") for record in records]
        paired = bool(records) and "pair" in records[0].fields
        pairs = [text_field(record, "pair") for record in records] if paired else None
        limit = min(self.config.max_length, self.model.spec.positions)
        if self.marks is None:
            found = self.model.tokenizer.encode_batch(texts, pairs, max_length=limit)
            ids, segments = [e.ids for e in found], [e.segments for e in found]
        else:
            ids = self._marked(texts, pairs, limit, self.marks)
            segments = [[0] * len(own) for own in ids]
        full = sum(len(own) >= limit for own in ids)
        return (ids, segments), {"texts that fill max_length (cut if longer)": full}

    def __call__(self, batch: Batch) -> Loss:
        """Loss of a batch; with that of language modeling, if it counts."""
        if not self.config.lm_weight:
            return super().__call__(batch)
        hidden = self.model(batch)
        loss = self.loss(self.judged(hidden, batch), batch)
        sizes, shares = self.shares(batch)
        weights = (shares / sizes).repeat_interleave(sizes)
        words = self.model.backbone.embeddings.words.weight
        own = language_loss(self.writes, words, hidden, batch, weights)
        figures = {**loss.metrics, "lm_loss": (float(own.detach()), loss.count)}
        return replace(loss, total=loss.total + self.config.lm_weight * own, metrics=figures)

    def logits(self, batch: Batch) -> Tensor:
        """What the head says."""
        return self.judged(self.model(batch), batch)

    @abstractmethod
    def judged(self, hidden: Tensor, batch: Batch) -> Tensor:
        """What the head says of hidden states ``[N, H]``."""

    def shares(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """How many sequences each example has, and how much it counts ``[n]``: in sum ``Loss.count``."""
        count = len(next(iter(batch.targets.values())))
        sizes = torch.full((count,), len(batch.lengths) // count, device=batch.ids.device)
        return sizes, torch.ones(count, device=batch.ids.device)

    def _marked(
        self, texts: Sequence[str], pairs: Sequence[str] | None, limit: int, own: list[int]
    ) -> list[list[int]]:
        """Start, text, (delimiter, pair,) extract."""
        start, delimiter, extract = own
        room = limit - len(own) + (pairs is None)
        if room < 1:
            raise UserError(f"max_length {limit} leaves no room for text")
        pieces = self.model.tokenizer.pieces
        firsts = [piece.ids.tolist() for piece in pieces(texts)]
        if pairs is None:
            return [[start, *ids[:room], extract] for ids in firsts]
        found = []
        for ids, piece in zip(firsts, pieces(pairs), strict=True):
            n, m = longest_first(len(ids), len(piece), room)
            found.append([start, *ids[:n], delimiter, *piece.ids[:m].tolist(), extract])
        return found


def judged_features(
    task: TextTask[Partial, Prediction],
    records: Sequence[Record],
    targets: Mapping[str, Sequence[object]],
    *,
    both: bool,
) -> tuple[Features, Mapping[str, int]]:
    """The sequences of records, ``both`` orders of each pair together; and what to note of them.

    Raises:
        UserError: both orders of what is no pair.
    """
    if not both:
        (ids, segments), notes = task.sequences(records)
        return Features.of(ids, segments, targets=targets), notes
    turned = []
    for record in records:
        if "pair" not in record.fields:
            raise UserError(f"{record.where}: task.both_orders is for pairs of texts")
        fields = record.fields
        swapped = {**fields, "text": fields["pair"], "pair": fields["text"]}
        turned += [record, replace(record, fields=swapped)]
    (ids, segments), notes = task.sequences(turned)
    return Grouped.together(Features.of(ids, segments), [2] * len(records), **targets), notes


def language_loss(
    head: Any, words: Tensor, hidden: Tensor, batch: Batch, weights: Tensor
) -> Tensor:
    """Sum over sequences of the mean negative log-likelihood of each one's tokens, but the first.

    As in Radford et al.'s code: the mean over a sequence, so that long texts count no more than short ones.

    Args:
        head: one that writes.
        words: the word table.
        hidden: of the batch, ``[N, H]``.
        batch: the sequences.
        weights: how much each counts, ``[B]``.
    """
    lengths = torch.tensor(batch.lengths, device=hidden.device)
    last = torch.tensor(batch.ends, device=hidden.device)
    places = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)
    places[last] = False
    of_tokens = (weights / (lengths - 1).clamp(min=1)).repeat_interleave(lengths - 1)
    states, wanted = head.features(hidden[places]), batch.ids.roll(-1)[places]
    return vocabulary_loss(states, head.table(words), head.bias, wanted, weights=of_tokens)[0]


def one_output(
    task: TextTask[Partial, Prediction], name: str, seed: int, start: float = 0.0
) -> None:
    """Leave a task's model with a head for one number: the checkpoint's for this task, else a fresh one.

    Args:
        task: whose model.
        name: of the task that the checkpoint's head may be for; one that does not say counts as such.
        seed: draws a fresh one.
        start: bias of a fresh one, where it has a bias.
    """
    model = task.model
    task.prepare()
    same = made_from(model.settings.get("task", name), name)
    head = task.keep_head()
    if head is None or head.classes != 1 or not same:
        drawn = () if same else ("out.",)
        fresh = classification_head(model, 1)
        model.add_head(HEAD, fresh, seed=seed, drawn=drawn)
        if f"heads.{HEAD}.out.bias" in model.fresh:
            torch.nn.init.constant_(fresh.out.bias, start)
    model.labels = None


def output(model: Model, hidden: Tensor, batch: Batch) -> Tensor:
    """What ``one_output`` says of each sequence, ``[B]``.

    In float32 from the last hidden states on: numbers, unlike classes, need more digits than bfloat16 has.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        result: Tensor = model.heads[HEAD](hidden.float(), batch)
    return result[:, 0]


def shown(record: Record) -> str:
    """The text, or both texts, for a report."""
    return " | ".join(str(record.fields[k]) for k in ("text", "pair") if k in record.fields)
