"""Denoising: Lewis et al., "BART: Denoising sequence-to-sequence pre-training", ACL 2020, section 2.2."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints, Taken
from jeoni.objectives import _layout, _masking
from jeoni.objectives._draft import Bools, Draft, Noise
from jeoni.objectives._masking import Share
from jeoni.objectives._objective import ObjectiveType
from jeoni.objectives._sentinels import spare_ids
from jeoni.objectives._writing import Writer, to_write


class DenoisingConfig(Config):
    """Settings: each noise on its own; 0 or false switches it off. As they are, they are BART's.

    Attributes:
        infill: share of the tokens that is taken out in spans; one mask stands for each span.
        mean: tokens of a span on average, by a Poisson distribution: a span of none is a mask put in.
        reorder: bring the sentences into a random order.
        rotate: begin at a random token; what was before it comes last.
        mask: share of the tokens that becomes a mask each.
        delete: share of the tokens that is left out without a trace.
        replace: share of the tokens that becomes a random token each.
        whole_words: count words, not tokens, in ``infill``.
    """

    infill: Share = 0.3
    mean: float = Field(3.0, ge=0.5)
    reorder: bool = True
    rotate: bool = False
    mask: Share = 0.0
    delete: Share = 0.0
    replace: Share = 0.0
    whole_words: bool = False

    @model_validator(mode="after")
    def _some(self) -> "DenoisingConfig":
        shares = {name: getattr(self, name) for name in ("infill", "mask", "delete", "replace")}
        if sum(shares.values()) >= 1:
            said = ", ".join(f"{name} {share:g}" for name, share in shares.items() if share)
            raise ValueError(f"{said}: they must be less than 1 together")
        if not (self.reorder or self.rotate or sum(shares.values())):
            raise ValueError("every noise is switched off: nothing is left to learn")
        return self


class Denoising(Writer):
    """A damaged text is read, and the decoder writes what it was, special tokens too."""

    arranges = True
    decodes = True

    def attach(self, seed: int) -> None:
        """The head that writes, on an encoder-decoder; and a mask where one is wanted."""
        super().attach(seed)
        tokenizer = self.model.tokenizer
        self.plain = np.setdiff1d(_masking.plain_ids(tokenizer), spare_ids(tokenizer))
        self.mask = -1 if tokenizer.mask_id is None else tokenizer.mask_id
        if self.mask < 0 and (self.config.infill or self.config.mask):
            raise UserError(
                "denoising: the tokenizer has no mask token",
                hint="take a model that has one (bart), or infill=0 and mask=0",
            )

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """The damaged text; the decoder's part: the text as it was."""
        taken, tokenizer = chunks.take(indices), self.model.tokenizer
        whole = _layout.framed(taken, indices, tokenizer)
        ends = np.cumsum(taken.lengths)
        texts = []
        for index, stop, length in zip(indices.tolist(), ends, taken.lengths, strict=True):
            start = chunks.starts[index]
            breaks = chunks.breaks(start, chunks.stops[index]) - start
            part = slice(stop - length, stop)
            generator = noise.generator("denoising", index)
            texts.append(self._damaged(taken.ids[part], taken.words[part], breaks, generator))
        lengths = np.array([len(text) for text in texts], np.int64)
        words = np.ones(int(lengths.sum()), np.bool_)  # (nobody asks: nothing chooses among these)
        read = _layout.framed(Taken(np.concatenate(texts), words, lengths), indices, tokenizer)
        return to_write(read, whole.ids, whole.lengths, self.model.spec.decoder_start)

    def _damaged(
        self, ids: Ints, words: Bools, breaks: Ints, generator: np.random.Generator
    ) -> Ints:
        """One text with all noises: order first, then what takes the place of tokens."""
        config, count = self.config, len(ids)
        if config.reorder:
            ids, words = reordered(ids, words, breaks, generator)
        if config.rotate:
            by = -int(generator.integers(count))
            ids, words = np.roll(ids, by), np.roll(words, by)
        if config.infill:
            begins = words.copy() if config.whole_words else np.ones(count, np.bool_)
            begins[0] = True
            ids = infilled(ids, begins, config.infill, config.mean, self.mask, generator)
        shares = (config.mask, config.replace, config.delete)
        return self._exchanged(ids, [round(share * count) for share in shares], generator)

    def _exchanged(self, ids: Ints, counts: Sequence[int], generator: np.random.Generator) -> Ints:
        """So many tokens masked, replaced and left out; no token twice, and no mask again."""
        if not any(counts):
            return ids
        ids = ids.copy()
        free = np.flatnonzero(ids != self.mask)
        masked, replaced, deleted, _ = np.split(generator.permutation(free), np.cumsum(counts))
        ids[masked] = self.mask
        ids[replaced] = self.plain[generator.integers(len(self.plain), size=len(replaced))]
        return np.delete(ids, deleted[: len(ids) - 1])  # something is left to be read


def reordered(
    ids: Ints, words: Bools, breaks: Ints, generator: np.random.Generator
) -> tuple[Ints, Bools]:
    """Sentences in a random order ("sentence permutation").

    Args:
        ids: tokens, ``[n]``.
        words: which begin a word, ``[n]``.
        breaks: where sentences begin, but for the first.
        generator: draws.
    """
    places = np.split(np.arange(len(ids)), breaks)
    order = np.concatenate([places[i] for i in generator.permutation(len(places))])
    return ids[order], words[order]


def infilled(
    ids: Ints, begins: Bools, share: float, mean: float, mask: int, generator: np.random.Generator
) -> Ints:
    """Spans taken out, a mask for each ("text infilling"); a text never becomes longer.

    Args:
        ids: tokens, ``[n]``.
        begins: which begin a unit (a token, or a word); spans are of whole units, ``[n]``.
        share: of the units.
        mean: units of a span.
        mask: its id.
        generator: draws.
    """
    count = int(begins.sum())
    budget = min(max(round(share * count), 1), count)
    ends = np.cumsum(generator.poisson(mean, 4 * budget + 16))
    budget = min(budget, int(ends[-1]))  # (in 10^8 texts, one may draw too little)
    used = int(np.searchsorted(ends, budget)) + 1
    lengths = np.diff(np.minimum(ends[:used], budget), prepend=0)
    empty = np.flatnonzero(lengths == 0)
    lengths = np.delete(lengths, empty[: max(0, len(lengths) - budget)])
    # Spans stand among the tokens that are left; every arrangement is equally likely.
    slots = count - budget + len(lengths)
    sizes, masks = np.ones(slots, np.int64), np.zeros(slots, np.bool_)
    masks[generator.permutation(slots)[: len(lengths)]] = True
    sizes[masks] = lengths
    kept = np.repeat(~masks, sizes)[np.cumsum(begins) - 1]
    # A mask goes before the first unit that follows it.
    at = np.append(np.flatnonzero(begins), len(ids))[(np.cumsum(sizes) - sizes)[masks]]
    places = np.cumsum(np.append(0, kept))[at]
    return np.insert(ids[kept], places, mask)


OBJECTIVE = ObjectiveType(
    config=DenoisingConfig,
    objective=Denoising,
    about="write a text that was damaged as it was (BART)",
)
