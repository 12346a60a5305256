"""A longer vocabulary: whole pieces for what a tokenizer cuts up again and again; old ids stay.

Pieces are found as in byte-pair encoding (Sennrich et al., ACL 2016, section 3.2), only that it begins with
the pieces of the tokenizer at hand, not with characters: what is most often side by side becomes one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.text import kind as kinds
from jeoni.text import learners
from jeoni.text.recipes import KEY
from jeoni.text.spec import added
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.tokenizer_files import TokenizerFiles
from jeoni.text.unigram import count_words

PREFIX = "continuing_subword_prefix"
_SYMBOLS = 0x10000  # from here on, a character stands for a piece: none is a blank or a surrogate
_LINE = 1000  # words
_HAIR = 1e-3


def extended(tokenizer: Tokenizer, texts: Iterable[str], count: int) -> Tokenizer:
    """The tokenizer with up to ``count`` new pieces, behind the old ones; the same texts give the same.

    WordPiece takes the longest piece that fits, so of twice as many candidates it gets those that save
    most; none that would leave a word of the texts without an end. In byte-pair encoding the new merges
    come after the old ones; in Unigram a new piece is as probable as its parts, and a hair more. So these
    two cut as before, and then put together.

    Args:
        tokenizer: WordPiece, byte-pair encoding or Unigram.
        texts: what to learn from.
        count: pieces, at most.

    Raises:
        UserError: another kind of tokenizer, or no text with anything to put together.
    """
    files = tokenizer._files
    model = _checked(files, tokenizer)
    cut = _cutter(tokenizer)
    words = _words(tokenizer, texts)
    cuts = {
        word: found for word in words if len(found := cut(word)) > 1 and _whole(word, found, model)
    }
    wordpiece = model["type"] == "WordPiece"
    merges = _merges(cuts, words, (2 if wordpiece else 1) * count, model)
    known = set(tokenizer.tokens)
    made = dict.fromkeys(_joined(pair, model) for pair in merges)
    names = [name for name in made if name not in known]
    if wordpiece:
        names = _most_saving(names, count, {word: words[word] for word in cuts}, model)
    if not names:
        raise UserError(
            "tokenizer.add: nothing in the text is cut into the same pieces twice",
            hint="give more text, or leave the vocabulary as it is",
        )
    return Tokenizer(_with(files, names, merges, cut))


def with_special(tokenizer: Tokenizer, names: Sequence[str]) -> Tokenizer:
    """The tokenizer with further special tokens, behind those that it has."""
    files, first = tokenizer._files, len(tokenizer.tokens)
    new = [added(name, first + number) for number, name in enumerate(names)]
    known = files.spec.get("added_tokens") or []
    return Tokenizer(replace(files, spec={**files.spec, "added_tokens": [*known, *new]}))


def extends(longer: Tokenizer, shorter: Tokenizer) -> bool:
    """Whether one has all tokens of the other under their ids, and more behind them."""
    return len(longer.tokens) > len(shorter.tokens) and (
        longer.tokens[: len(shorter.tokens)] == shorter.tokens
    )


def parts(tokenizer: Tokenizer, names: Sequence[str]) -> list[list[int]]:
    """The tokens that a tokenizer cuts others' tokens into; none where it cannot.

    Args:
        tokenizer: whose ids.
        names: of tokens, as they stand in a vocabulary.
    """
    cut = _cutter(tokenizer)
    ids = {name: number for number, name in enumerate(tokenizer.tokens)}
    model = tokenizer._files.spec["model"]
    found = []
    for name in names:
        pieces = cut(name)
        found.append([ids[piece] for piece in pieces] if _whole(name, pieces, model) else [])
    return found


def _checked(files: TokenizerFiles, tokenizer: Tokenizer) -> dict[str, Any]:
    """The model of tokenizer.json, if it can be extended."""
    model: dict[str, Any] = files.spec["model"]
    kind = kinds.find(files.recipe.kind) if files.recipe else None
    plain = model["type"] != "BPE" or (
        model.get("merges") and not model.get("end_of_word_suffix") and not model.get(PREFIX)
    )
    known = model["type"] in ("WordPiece", "BPE", "Unigram")
    if not (known and plain) or (kind is not None and kind.segment is not None):
        raise UserError(
            f"{files.source}: the vocabulary of this kind of tokenizer cannot be extended",
            hint="WordPiece, byte-level BPE and Unigram can; or train without tokenizer.add",
        )
    if len(model["vocab"]) != len(tokenizer.tokens):
        raise UserError(
            f"{files.source}: tokens were added behind the vocabulary, where new pieces belong",
            hint="train without tokenizer.add",
        )
    return model


def _words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """What the model is given to cut, and how often."""
    rust = tokenizer._rust

    def found() -> Iterator[str]:
        for text in texts:
            plain = rust.normalizer.normalize_str(text) if rust.normalizer else text
            for word, _ in rust.pre_tokenizer.pre_tokenize_str(plain) if rust.pre_tokenizer else ():
                yield word

    return count_words(found())


def _cutter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """Cuts a word into names of tokens; into none, or some, where it cannot."""
    model = tokenizer._files.spec["model"]
    if model["type"] == "WordPiece":  # whose pieces inside of words the library does not take alone
        return lambda word: _longest_first(word, model["vocab"], model[PREFIX])
    known = set(tokenizer.tokens)

    def cut(word: str) -> list[str]:
        pieces = [token.value for token in tokenizer._rust.model.tokenize(word)]
        return pieces if known.issuperset(pieces) else []

    return cut


def _longest_first(word: str, vocab: Mapping[str, int] | set[str], prefix: str) -> list[str]:
    """The longest pieces that fit, one after the other; where none fits, that was all."""
    found, mark = [], prefix if word.startswith(prefix) and len(word) > len(prefix) else ""
    rest = word.removeprefix(mark)
    while rest:
        ends = range(len(rest), 0, -1)
        piece = next((mark + rest[:end] for end in ends if mark + rest[:end] in vocab), None)
        if piece is None:
            break
        found.append(piece)
        rest, mark = rest[len(piece) - len(mark) :], prefix
    return found


def _joined(pieces: Sequence[str], model: Mapping[str, Any]) -> str:
    """The name of a token made of others."""
    first, *rest = pieces
    return first + "".join(piece.removeprefix(model.get(PREFIX) or "") for piece in rest)


def _whole(word: str, pieces: Sequence[str], model: Mapping[str, Any]) -> bool:
    """Whether pieces are all of a word: nothing is unknown, or written in bytes."""
    return bool(pieces) and _joined(pieces, model) == word


def _merges(
    cuts: Mapping[str, Sequence[str]],
    words: Mapping[str, int],
    count: int,
    model: Mapping[str, Any],
) -> list[tuple[str, str]]:
    """Pairs of pieces, old or made before, in the order in which they become one."""
    names = sorted({piece for pieces in cuts.values() for piece in pieces})
    symbol = {name: chr(_SYMBOLS + number) for number, name in enumerate(names)}

    def lines() -> Iterator[str]:
        for word, pieces in cuts.items():
            text = "".join(symbol[piece] for piece in pieces)
            for start in range(0, words[word], _LINE):
                yield " ".join([text] * min(_LINE, words[word] - start))

    size = len(names) + count
    _, merged = learners.bpe(lines(), {"type": "WhitespaceSplit"}, size=size)

    def name(symbols: str) -> str:
        return _joined([names[ord(char) - _SYMBOLS] for char in symbols], model)

    return [(name(left), name(right)) for left, right in merged]


def _most_saving(
    names: Sequence[str], count: int, words: Mapping[str, int], model: Mapping[str, Any]
) -> list[str]:
    """The candidates that make the words' cuts shortest, without those that leave a word unfinished."""
    old, prefix = set(model["vocab"]), model[PREFIX]
    chosen = list(names)
    while True:
        vocab, saved, stuck = old | set(chosen), Counter[str](), set[str]()
        for word, times in words.items():
            pieces = _longest_first(word, vocab, prefix)
            if not _whole(word, pieces, model):
                stuck |= set(pieces) - old
            for piece in set(pieces) - old:
                saved[piece] += times * (len(_longest_first(piece, old, prefix)) - 1)
        order = sorted((name for name in chosen if name not in stuck), key=lambda n: -saved[n])
        best = {name for name in order[:count] if saved[name] > 0}
        if not stuck and best == set(chosen):
            return chosen
        chosen = [name for name in chosen if name in best]


def _with(
    files: TokenizerFiles,
    names: Sequence[str],
    merges: Sequence[tuple[str, str]],
    cut: Callable[[str], list[str]],
) -> TokenizerFiles:
    """The tokenizer's files with new tokens."""
    spec = deepcopy(files.spec)
    model, first = spec["model"], len(spec["model"]["vocab"])
    if model["type"] == "Unigram":
        scores = dict(model["vocab"])
        for name in names:
            pieces = cut(name)
            score = sum(scores[piece] for piece in pieces) + _HAIR * (len(pieces) - 1)
            model["vocab"].append([name, score])
        # The published files hold no pieces behind the special ones: tokenizer.json has all.
        config = {k: v for k, v in files.config.items() if k not in ("tokenizer_class", KEY)}
        return replace(files, spec=spec, config=config, recipe=None)
    model["vocab"] |= {name: first + number for number, name in enumerate(names)}
    if model["type"] == "BPE":
        old = [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in model["merges"]]
        model["merges"] = old + [list(pair) for pair in merges]
    return replace(files, spec=spec)
