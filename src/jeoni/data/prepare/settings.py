"""What ``jeoni data prepare`` is asked for."""

from typing import Annotated, Literal

from pydantic import Field

from jeoni.base.config import Config

Share = Annotated[float, Field(ge=0, lt=1)]


class PrepareConfig(Config):
    """All that decides what is in the stores.

    Attributes:
        inputs: files, patterns such as ``texts/*.zst``, or ``hf:NAME[:CONFIG[:SPLIT]]``.
        tokenizer: folder of the tokenizer.
        text_column: where the text is in JSON lines, tables and parquet; of several columns, with commas
            between (``premise,entailment``), each text is a line of the document.
        score_column: where the score is, if there is one: a document with a lower one than ``min_score``,
            or with an empty one, is dropped (a JSON record without the key has no score, and stays).
            None: scores are not looked at.
        min_score: the least score that is kept. GPT-2's text was what 3 votes had been cast for
            (Radford et al. 2019, section 2.1).
        min_characters, max_characters: of a document that is kept.
        languages: codes of languages that are kept (``ko``, ``en``), as py3langid guesses; all if empty.
        split_sentences: cut lines into sentences; None: each line is one.
        duplicates: what to drop of documents that were there before: nothing, those with the same letters
            and digits, or those that are nearly the same, too.
        similarity: Jaccard similarity from which documents are nearly the same.
        held_out: share of the documents that goes into the held-out store.
        decontaminate: data sets of the catalog: documents with text of their dev and test files are
            dropped.
        root: folder to look in first for those files.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    tokenizer: str
    text_column: str = "text"
    score_column: str | None = "score"
    min_score: float = 3
    min_characters: Annotated[int, Field(ge=1)] = 1
    max_characters: Annotated[int, Field(ge=1)] | None = None
    languages: tuple[str, ...] = ()
    split_sentences: Literal["ko", "en"] | None = None
    duplicates: Literal["keep", "exact", "near"] = "exact"
    similarity: Annotated[float, Field(ge=0.3, le=1)] = 0.8
    held_out: Share = 0.005
    decontaminate: tuple[str, ...] = ()
    root: str | None = None
