"""Train a tokenizer from text."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from jeoni.text.tokenizer import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_wordpiece(texts: Iterable[str], *, vocab_size: int, lowercase: bool = False) -> Tokenizer:
    """A WordPiece tokenizer with BERT's special tokens, learned from ``texts``.

    The same texts give the same vocabulary. Accents are never stripped: that would take Hangul
    syllables apart.

    Args:
        texts: strings, in any number.
        vocab_size: entries of the vocabulary, at most.
        lowercase: whether case is ignored.
    """
    from tokenizers import BertWordPieceTokenizer

    trainer = BertWordPieceTokenizer(lowercase=lowercase, strip_accents=False)
    trainer.train_from_iterator(
        texts, vocab_size=vocab_size, special_tokens=list(SPECIAL), show_progress=False
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer.save_model(folder)
        return Tokenizer.from_vocab(
            Path(folder) / "vocab.txt", lowercase, strip_accents=False, model_max_length=512
        )
