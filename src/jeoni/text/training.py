"""Train a tokenizer from text."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.text import kind as kinds
from jeoni.text import recipes, spec
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.tokenizer_files import assemble

# Names for the command line: what they mean, where it is not a file of ``kinds/``.
KINDS = {
    "wordpiece": "wordpiece",
    "bpe": "byte_bpe",
    "unigram": "unigram",
    "syllable": "syllable",
    "jamo": "jamo",
    "morpheme": "morpheme",
    "words": "words",
}
FORMS = ("none", "nfc", "nfkc")


def train(
    texts: Iterable[str],
    *,
    kind: str,
    vocab_size: int,
    like: str | None = None,
    lowercase: bool = False,
    normalize: str = "none",
    coverage: float = 0.9999,
    plain: bool = False,
    show: bool = False,
) -> Tokenizer:
    """A tokenizer learned from ``texts``; the same texts give the same tokenizer.

    Args:
        texts: strings, in any number. They are gone through twice; what can be gone through only
            once (a generator) is held in memory. Of files: ``jeoni.data.prepare.document_lines``.
        kind: one of ``KINDS``.
        vocab_size: entries of the vocabulary, at most, special tokens included.
        like: the published tokenizer whose special tokens, template and files it gets: a short name
            in ``jeoni.text.recipes``; the kind's first by default.
        lowercase: whether case is ignored.
        normalize: Unicode form that text is brought into first: ``none``, ``nfc`` (decomposed
            Hangul is composed) or ``nfkc`` (full-width letters become plain ones, too).
        coverage: share of the characters of the text that the vocabulary's alphabet is to have; rarer
            characters are unknown. Bytes cover everything.
        plain: ``jamo`` only: each letter a token.
        show: say on stderr what goes on.

    Raises:
        UserError: no such kind, nothing like that, no text, or too small a vocabulary.
    """
    recipe = _recipe(kind, like)
    own = kinds.find(recipe.kind)
    options = _options(recipe, lowercase=lowercase, plain=plain)
    before = None if normalize == "none" else {"type": normalize.upper()}
    if isinstance(texts, Iterator):
        texts = list(texts)
    parts = own.pipeline({**recipe.options, **options})["normalizer"]
    chain = [part for part in (before, parts) if part]
    source = partial(_normalized, texts, own, spec.pipeline(chain, (), ())["normalizer"])
    lesson = _lesson(source, own, recipe, vocab_size, coverage, {**recipe.options, **options})
    if show:
        lesson = replace(lesson, texts=partial(_announced, lesson.texts, vocab_size))
    model = own.learn(lesson)
    if recipe.model_max_length is not None:
        options["model_max_length"] = recipe.model_max_length
    vocab = spec.tokens(model)
    roles = {role: name for role, name in recipe.roles.items() if name in vocab}
    return Tokenizer(assemble(recipe, model, options, roles, Path("(learned)"), before=before))


def train_wordpiece(texts: Iterable[str], *, vocab_size: int, lowercase: bool = False) -> Tokenizer:
    """A WordPiece tokenizer with BERT's special tokens, learned from ``texts``.

    Accents are never stripped: that would take Hangul syllables apart. See ``train``.

    Args:
        texts: strings, in any number.
        vocab_size: entries of the vocabulary, at most.
        lowercase: whether case is ignored.
    """
    return train(texts, kind="wordpiece", vocab_size=vocab_size, lowercase=lowercase)


def _recipe(kind: str, like: str | None) -> Recipe:
    if kind not in KINDS:
        raise UserError(
            f"there is no kind {kind!r} of tokenizer", hint=f"known: {', '.join(KINDS)}"
        )
    if like is None:
        return recipes.find(kinds.find(KINDS[kind]).like[0])
    recipe = recipes.find(like)
    fitting = ("byte_bpe", "word_bpe") if kind == "bpe" else (KINDS[kind],)
    if recipe.kind not in fitting:
        names = (one.like for one in recipes.ALL if one.kind in fitting)
        raise UserError(
            f"a tokenizer like {like!r} is not of kind {kind!r}",
            hint=f"like {', '.join(names)}; or another kind",
        )
    return recipe


def _options(recipe: Recipe, *, lowercase: bool, plain: bool) -> dict[str, Any]:
    """Settings that say what was asked for, under the names that the recipe has for them."""
    options: dict[str, Any] = {}
    for name in ("do_lower_case", "lower"):
        if name in recipe.options:
            options[name] = lowercase
    if lowercase and not options and recipe.kind != "word_bpe":  # which knows no other
        able = (one.like for one in recipes.ALL if {"do_lower_case", "lower"} & one.options.keys())
        raise UserError(
            f"a tokenizer like {recipe.like!r} does not ignore case",
            hint=f"those like {', '.join(able)} can; or leave out lowercase",
        )
    # Stripping accents would take Hangul syllables apart.
    if "strip_accents" in recipe.options:
        options["strip_accents"] = False
    if "keep_accents" in recipe.options and recipe.like == "albert":
        options["keep_accents"] = True
    if plain:
        if recipe.kind != "jamo":
            raise UserError("plain letters are for jamo", hint="or take kind syllable")
        options["plain"] = True
    return options


def _normalized(texts: Iterable[str], kind: Kind, normalizer: JSON | None) -> Iterator[str]:
    """The texts as the tokenizer's model will see them."""
    rust = spec.rust({"normalizer": normalizer}).normalizer if normalizer else None
    cut = ((text, []) for text in texts) if kind.segment is None else kind.segment(texts)
    for text, _ in cut:
        yield text if rust is None else str(rust.normalize_str(text))


def _lesson(
    source: Any,
    kind: Kind,
    recipe: Recipe,
    size: int,
    coverage: float,
    options: Mapping[str, Any],
) -> Lesson:
    """What to learn from, without the characters that are too rare to be in the vocabulary."""
    counts: Counter[str] = Counter()
    empty = True
    for text in source():
        empty = False
        if kind.characters:
            counts.update(text)
    if empty:
        raise UserError("there is no text to learn from", hint="are the files empty?")
    room = size - len(recipe.first) - len(recipe.last)
    least = 257 if recipe.kind == "byte_bpe" else 2
    if room < least:
        raise UserError(
            f"a vocabulary of {size} leaves {max(room, 0)} tokens beside the special ones",
            hint=f"take at least {size - room + least}",
        )
    for char in [c for c in counts if c.isspace() or not c.isprintable() or c == "▁"]:
        del counts[char]
    kept = _frequent(counts, coverage, room // kind.characters if kind.characters else 0)
    if kind.characters and not kept:
        raise UserError("there is no letter in the text to learn from", hint="is it text?")
    dropped = str.maketrans(dict.fromkeys(counts.keys() - set(kept), " "))

    def lines() -> Iterator[str]:
        return (text.translate(dropped) for text in source()) if dropped else source()

    return Lesson(lines, kept, size, recipe.first, recipe.last, recipe.roles["unk_token"], options)


def _announced(texts: Callable[[], Iterator[str]], size: int) -> Iterator[str]:
    """The texts; when all are read, what takes its time now is said."""
    yield from texts()
    print(f"all is read; working out {size:,} tokens", file=sys.stderr)


def _frequent(counts: Counter[str], coverage: float, room: int) -> list[str]:
    """The most frequent characters: as many as make up ``coverage`` of all, and as there is room."""
    enough = coverage * counts.total()
    kept, covered = [], 0
    for char in sorted(counts, key=lambda char: (-counts[char], char))[:room]:
        if covered >= enough:
            break
        kept.append(char)
        covered += counts[char]
    return kept
