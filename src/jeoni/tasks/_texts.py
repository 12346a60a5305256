"""What task types that read a text, or a pair of texts, have in common."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.data.record import Record, text_field
from jeoni.models.heads import classification_head
from jeoni.models.model import Model
from jeoni.text.tokenizer import Encoding

HEAD = "classification"
"""The kind of head, by which published checkpoints know one with a single output, too."""


def encode_texts(
    model: Model, records: Sequence[Record], max_length: int
) -> tuple[list[Encoding], Mapping[str, int]]:
    """``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]`` of each record, and what to note of it."""
    texts = [text_field(record, "text") for record in records]
    paired = bool(records) and "pair" in records[0].fields
    pairs = [text_field(record, "pair") for record in records] if paired else None
    limit = min(max_length, model.spec.positions)
    encodings = model.tokenizer.encode_batch(texts, pairs, max_length=limit)
    full = sum(len(encoding.ids) >= limit for encoding in encodings)
    return encodings, {"texts that fill max_length (cut if longer)": full}


def one_output(model: Model, task: str, seed: int, start: float = 0.0) -> None:
    """Leave a model with a head for one number: the checkpoint's for this task, else a fresh one.

    Args:
        model: gets it, and keeps no other.
        task: whose head the checkpoint's may be; one that does not say counts as such.
        seed: draws a fresh one.
        start: bias of a fresh one, where it has a bias.
    """
    same = model.settings.get("task", task) == task
    head = model.keep_head(HEAD)
    if head is None or head.classes != 1 or not same:
        drawn = () if same else ("out.",)
        fresh = classification_head(model, 1)
        model.add_head(HEAD, fresh, seed=seed, drawn=drawn)
        if f"heads.{HEAD}.out.bias" in model.fresh:
            torch.nn.init.constant_(fresh.out.bias, start)
    model.labels = None


def output(model: Model, batch: Batch) -> Tensor:
    """What ``one_output`` says of each sequence, ``[B]``.

    In float32 from the last hidden states on: numbers, unlike classes, need more digits than bfloat16 has.
    """
    hidden = model(batch)
    with torch.autocast(hidden.device.type, enabled=False):
        result: Tensor = model.heads[HEAD](hidden.float(), batch)
    return result[:, 0]


def shown(record: Record) -> str:
    """The text, or both texts, for a report."""
    return " | ".join(str(record.fields[k]) for k in ("text", "pair") if k in record.fields)
