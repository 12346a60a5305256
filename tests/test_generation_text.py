"""Texts as they are written: pieces, stop texts, bytes of one character, what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.streaming import TextStream
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train

FAMILIES = peers.families()
TOKENIZER = train(tiny.texts(), kind="bpe", vocab_size=300, like="gpt2")
WORDS = "The bridge 다리 😀 carried trains."


class Script(nn.Module):
    """Writes given tokens, whatever it reads."""

    def __init__(self, ids: Sequence[int], vocab: int) -> None:
        super().__init__()
        self.ids, self.vocab, self.calls = list(ids), vocab, 0

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        logits = torch.zeros(len(hidden), self.vocab)
        logits[:, self.ids[min(self.calls, len(self.ids) - 1)]] = 9.0
        self.calls += 1
        return logits


def model_of(tokenizer: Tokenizer, family: str = "gpt2", positions: int = 64) -> Model:
    spec = peers.fit(replace(peers.SMALL, layers=1, positions=positions), FAMILIES[family])
    spec = replace(spec, vocab=tokenizer.vocab_size, decoder_start=0)
    model = hub.create(family, spec, tokenizer=tokenizer)
    model.add_head("language_model", build_head("language_model", model, {}))
    return model


def scripted(text: str, end: bool = True) -> Model:
    model = model_of(TOKENIZER)
    assert TOKENIZER.eos_id is not None
    ids = [*TOKENIZER.encode(text).ids, *([TOKENIZER.eos_id] if end else [])]
    model.heads["language_model"] = Script(ids, TOKENIZER.vocab_size)
    return model


def test_the_end_is_not_part_of_the_text() -> None:
    (text,) = scripted(WORDS).generate(["Seoul"])
    assert (text.text, text.reason) == (WORDS, "end")
    assert text.ids[-1] == TOKENIZER.eos_id
    assert text.score is None


def test_no_more_than_max_new() -> None:
    (text,) = scripted(WORDS).generate(["Seoul"], max_new=4)
    assert (len(text.ids), text.reason) == (4, "length")
    assert text.text is not None
    assert WORDS.startswith(text.text)


def test_no_farther_than_the_positions() -> None:
    """The prompt has 3 tokens; the last that is written needs no position."""
    model = model_of(TOKENIZER, positions=8)
    model.heads["language_model"] = Script([5], TOKENIZER.vocab_size)
    (text,) = model.generate([[1, 2, 3]], max_new=50)
    assert (len(text.ids), text.reason) == (6, "length")
    (full,) = model.generate([list(range(1, 9))], max_new=50)
    assert len(full.ids) == 1


@pytest.mark.parametrize(
    ("stop", "right"),
    [
        ("bridge", "The "),
        (["zebra", " trains", "carried"], "The bridge 다리 😀 "),
        ("T", ""),
        ("리 😀", "The bridge 다"),
        ("😀", "The bridge 다리 "),
        ("absent", WORDS),
        (".", WORDS[:-1]),
        (None, WORDS),
    ],
)
def test_stop_texts(stop: Any, right: str) -> None:
    (text,) = scripted(WORDS).generate(["Seoul"], stop=stop)
    assert text.text == right
    assert text.reason == ("end" if right == WORDS else "stop")
    pieces = list(scripted(WORDS).stream("Seoul", stop=stop))
    assert "".join(pieces) == right
    if text.reason == "stop":
        assert TOKENIZER.decode(text.ids).startswith(right)
        assert len(text.ids) < len(TOKENIZER.encode(WORDS).ids) + 1


def test_stop_texts_with_beams(tmp_path: Path) -> None:
    """A beam that has one is whole, and the others go on."""
    model = model_of(TOKENIZER)
    peers.scramble(model, 3)
    free = model.generate(["Seoul"], max_new=8, beams=3)[0]
    assert free.text
    stop = free.text[2]
    (text,) = model.generate(["Seoul"], max_new=8, beams=3, stop=stop)
    assert text.text is not None
    assert stop not in text.text
    assert text.reason in ("stop", "length")


def test_pieces_come_one_by_one_and_are_whole_characters() -> None:
    model = scripted(WORDS)
    stream = model.stream("Seoul")
    script: Any = model.heads["language_model"]
    first = next(stream)
    assert first
    assert script.calls < 4  # before the rest is written
    pieces = [first, *stream]
    assert "".join(pieces) == WORDS
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 8
    assert "😀" in "".join(pieces)


def test_bytes_that_never_become_a_character_come_at_the_end() -> None:
    ids = TOKENIZER.encode("a😀").ids[:-1]
    model = model_of(TOKENIZER)
    model.heads["language_model"] = Script(ids, TOKENIZER.vocab_size)
    pieces = list(model.stream("b", max_new=len(ids)))
    assert pieces[0] == "a"
    assert "".join(pieces) == model.generate(["b"], max_new=1)[0].text or "\ufffd" in pieces[-1]


TOKENIZERS = {
    "bytes": TOKENIZER,
    "wordpiece": tiny.tokenizer(),
    "unigram": train(tiny.texts(), kind="unigram", vocab_size=300),
    "syllables": train(tiny.texts(), kind="syllable", vocab_size=300),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pieces_are_the_text(name: str, data: st.DataObject) -> None:
    """Of any tokens, after any prompt, with any stop text: nothing twice, nothing missing."""
    tokenizer = TOKENIZERS[name]
    draw = st.lists(st.integers(0, tokenizer.vocab_size - 1), min_size=1, max_size=12)
    prompt, ids = data.draw(draw), data.draw(draw)
    if data.draw(st.booleans()):
        ids = list(tokenizer.encode(data.draw(st.sampled_from([WORDS, *tiny.texts()]))).ids)
    stop = data.draw(st.lists(st.text(alphabet="The b다다.", min_size=1, max_size=3), max_size=2))
    stream = TextStream(tokenizer, prompt, stop)
    pieces, count = [], 0
    for count in range(1, len(ids) + 1):
        pieces.append(stream.add(ids[:count], last=count == len(ids)))
        if stream.stopped:
            break
    text = stream.text(ids[:count])
    assert "".join(pieces) == text
    assert not any(word in text for word in stop)


def test_blanks_after_the_prompt_are_kept() -> None:
    """A Unigram tokenizer drops the first blank of what it decodes: here it is not the first."""
    tokenizer = TOKENIZERS["unigram"]
    prompt, plain = (
        tokenizer.pieces([text])[0].ids.tolist() for text in ("The Han", "River flows")
    )
    assert TextStream(tokenizer, prompt).text(plain) == " River flows"
    assert TextStream(tokenizer).text(plain) == "River flows"


def test_special_tokens_around_a_prompt() -> None:
    """A separator at its end would say that it is over; an encoder wants it."""
    tokenizer = tiny.tokenizer()
    decoder, both = model_of(tokenizer), model_of(tokenizer, "t5")
    from jeoni.models.lines import line_of
    from jeoni.models.sampling import Settings

    ids = list(tokenizer.encode("the bridge").ids)
    assert line_of(decoder, "the bridge", 0, Settings()).prompt == ids[:-1]
    line = line_of(both, "the bridge", 0, Settings())
    assert (line.prompt, line.start) == (ids, [both.spec.decoder_start])


def test_an_empty_prompt_begins_with_the_first_token() -> None:
    (text,) = scripted(WORDS).generate([""])
    assert text.text == WORDS


def test_a_model_without_tokenizer_takes_ids() -> None:
    model = model_of(TOKENIZER)
    model._tokenizer = None
    (text,) = model.generate([[1, 2]], max_new=3)
    assert (text.text, len(text.ids)) == (None, 3)
    for call in (
        lambda: model.generate(["text"]),
        lambda: model.generate([[1]], stop="x"),
        lambda: model.stream([1]),
    ):
        with pytest.raises(UserError, match="no tokenizer"):
            call()


def test_training_goes_on_between_pieces() -> None:
    model = scripted(WORDS).train()
    stream = model.stream("Seoul")
    next(stream)
    assert model.training
    assert not torch.is_inference_mode_enabled()
    list(stream)
    model.generate(["Seoul"], max_new=2)
    assert model.training


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt 1: no tokens"),
        ([1] * 65, "prompt 1: 65 tokens, but the model has 64 positions"),
        ([1, 10**6], "prompt 1: id 1000000 is outside the vocabulary"),
        (["a", None], "prompt 1: neither a text nor a list of token ids"),
        (7, "prompt 1: neither a text nor a list of token ids"),
    ],
)
def test_prompts_that_cannot_be_read(prompt: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_of(TOKENIZER).generate([[1], prompt])


def test_models_that_do_not_write() -> None:
    with pytest.raises(
        UserError, match=r"bert model does not write.*its heads: masked_lm\)\n.*GPT-2"
    ):
        peers.fresh("bert", "masked_lm").generate([[1]])
    with pytest.raises(UserError, match=r"gpt2 model does not write.*its heads: none"):
        peers.fresh("gpt2").generate([[1]])
    with pytest.raises(UserError, match=r"xlnet model does not write.*both sides[^\n]*\n.*GPT-2"):
        peers.fresh("xlnet", "language_model").generate([[1]])


def test_beams_cannot_be_streamed_and_have_a_limit() -> None:
    model = model_of(TOKENIZER)
    with pytest.raises(UserError, match="beams cannot be streamed"):
        model.stream("Seoul", beams=2)
    with pytest.raises(UserError, match="200 beams are too many for"):
        model.generate(["Seoul"], beams=200)
