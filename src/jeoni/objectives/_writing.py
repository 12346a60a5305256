"""What objectives have in common whose model writes tokens: the head, the loss, a decoder's input."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.errors import UserError
from jeoni.models.decoding import language_model_loss, shift_right
from jeoni.models.heads import language_model_head
from jeoni.models.model import Model
from jeoni.objectives._draft import Draft, Ints
from jeoni.objectives._objective import Objective, Part
from jeoni.text.tokenizer import Tokenizer

HEAD = "language_model"
WRITTEN = "written"


class Writer(Objective):
    """Each state that the model gives writes one token: ``targets[WRITTEN]``."""

    alone = True
    decodes: ClassVar[bool] = False
    """Whether the model must have a decoder that reads what an encoder makes of the text."""

    def attach(self, seed: int) -> None:
        """The head that writes.

        Raises:
            UserError: the model is of another kind.
        """
        if self.decodes and not self.model.spec.decoder_layers:
            name = type(self).__module__.rpartition(".")[2]
            raise UserError(
                f"{name}: the model must have an encoder and a decoder",
                hint="take t5 or bart; for one stack: masked_lm, or causal_lm",
            )
        if HEAD not in self.model.heads:
            self.model.add_head(HEAD, language_model_head(self.model), seed=seed)

    def counts(self, batch: Batch) -> list[float]:
        """Tokens that are written."""
        return [float(len(batch.targets[WRITTEN]))]

    def rows(self, batch: Batch) -> Mapping[str, float]:
        """As many."""
        return {HEAD: self.counts(batch)[0]}

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Cross-entropy; accuracy too, when the model is not training."""
        loss = written_loss(self.model, hidden, batch.targets[WRITTEN])
        return [Part(loss.total, loss.count, perplexity=True, metrics=loss.metrics)]


def written_loss(model: Model, hidden: Tensor, written: Tensor) -> Loss:
    """Of the head that writes.

    Args:
        model: has it.
        hidden: states ``[M, H]``.
        written: what each is to write, ``[M]``.
    """
    words = model.backbone.embeddings.words.weight
    return language_model_loss(model.heads[HEAD], hidden, words, written)


def to_write(draft: Draft, ids: Ints, lengths: Ints, start: int) -> Draft:
    """With what the decoder is to write as targets, and what it reads to do so.

    Args:
        draft: what the encoder reads.
        ids: what is to be written, sequences end to end.
        lengths: tokens of each, ``[B]``.
        start: what a decoder reads first.
    """
    read = shift_right(torch.from_numpy(ids), lengths.tolist(), start).ids.numpy()
    decoder = Draft(
        ids=read,
        segments=np.zeros_like(ids),
        special=np.zeros(len(ids), np.bool_),
        words=np.ones(len(ids), np.bool_),
        lengths=lengths,
        examples=draft.examples,
    )
    return replace(draft, decoder=decoder).aimed(**{WRITTEN: ids})


def end_id(tokenizer: Tokenizer) -> int:
    """The token that ends a text: the one that there is for it, else the separator.

    Raises:
        UserError: there is neither.
    """
    end = tokenizer.sep_id if tokenizer.eos_id is None else tokenizer.eos_id
    if end is None:
        raise UserError(
            "the tokenizer has no token that ends a text",
            hint="train one that has: jeoni tokenizer train --kind bpe --like gpt2",
        )
    return end


def start_id(tokenizer: Tokenizer) -> int:
    """The token before a text; where there is none of its own, the one that ended the text before.

    Raises:
        UserError: there is neither.
    """
    for found in (tokenizer.bos_id, tokenizer.cls_id):
        if found is not None:
            return found
    return end_id(tokenizer)
