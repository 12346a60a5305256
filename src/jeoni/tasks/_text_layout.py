"""What a model reads and writes, as tokens: an encoder and a decoder, or one stack that does both."""

from collections.abc import Sequence

from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.models.decoding import NO_TARGET
from jeoni.models.model import Model
from jeoni.tasks._marks import end_mark, marks
from jeoni.tasks._text_features import WRITTEN, Pairs


class Layout:
    """Texts to tokens, for a model that writes.

    An encoder-decoder reads a source with its special tokens, and writes a target with those. One stack
    reads source, separator and target, and is to write the target alone, and its end.

    Args:
        model: gets tokens that it lacks, and then has no head.
        separator: text between source and target; where the tokenizer has no tokens for it, its separator
            or a new one takes the place.
        max_source, max_target: tokens at most.
    """

    def __init__(self, model: Model, separator: str, max_source: int, max_target: int) -> None:
        self.model, self.max_source, self.max_target = model, max_source, max_target
        self.end = end_mark(model)
        self.between: list[int] = []
        if not model.spec.decoder_layers:
            own = model.tokenizer.sep_id
            usual = [] if own is None else [own]
            self.between = self._ids([separator])[0] or usual or marks(model, "<|delimiter|>")

    def prompts(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """What is read before the first token is written, and how many sources fill the room.

        Raises:
            UserError: there is none.
        """
        tokenizer, limit = self.model.tokenizer, self.model.spec.limit
        room = min(self.max_source, limit or self.max_source)
        if self.model.spec.decoder_layers:
            prompts = [ids for ids, _ in tokenizer.encode_ids(texts, max_length=room)]
            return prompts, sum(len(ids) >= room for ids in prompts)
        before = tokenizer.build_single([])[0][: tokenizer.text_start()]
        around = len(before) + len(self.between)
        if limit is not None:
            room = min(room, limit - self.max_target)
        if room <= around:
            raise UserError(
                f"task.max_source={self.max_source}, and {limit or 'all'} positions with "
                f"{self.max_target} for the target, leave no room for a source",
                hint="a larger task.max_source, or a smaller task.max_target",
            )
        found = [ids[: room - around] for ids in self._ids(texts)]
        prompts = [before + ids + self.between for ids in found]
        return prompts, sum(len(ids) >= room for ids in prompts)

    def written(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """What is written, with its end, and how many targets were cut.

        Raises:
            UserError: there is no room.
        """
        around: list[int] = []
        most, build = self.max_target, self.model.tokenizer.build_single
        if self.model.spec.decoder_layers:
            most, around = min(most, self.model.spec.limit or most), build([])[0]
        room = most - len(around) - (around[-1:] != [self.end])
        if room < 1:
            raise UserError(f"task.max_target={most} leaves no room for text")
        found = self._ids(texts)
        cut = [ids[:room] for ids in found]
        whole = [build(ids)[0] for ids in cut] if around else cut
        written = [ids if ids[-1:] == [self.end] and around else [*ids, self.end] for ids in whole]
        return written, sum(len(ids) > room for ids in found)

    def features(self, prompts: list[list[int]], written: list[list[int]]) -> Features:
        """Sequences to train on; the target ``written``: ids at their places."""
        if self.model.spec.decoder_layers:
            start = self.model.spec.decoder_start
            return Pairs.aimed(plain(prompts), plain(written), start=start)
        pairs = list(zip(prompts, written, strict=True))
        read = [[*before, *ids[:-1]] for before, ids in pairs]
        wanted = [[NO_TARGET] * (len(before) - 1) + ids for before, ids in pairs]
        return Features.of(read, [[0] * len(ids) for ids in read], token_targets={WRITTEN: wanted})

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [pieces.ids.tolist() for pieces in self.model.tokenizer.pieces(texts)]


def plain(ids: Sequence[list[int]]) -> Features:
    """Sequences of one segment."""
    return Features.of(ids, [[0] * len(own) for own in ids])
