"""What a family is: presets, weight names, configuration names. Data, no behavior."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row


@dataclass(frozen=True, kw_only=True)
class HeadStyle:
    """How the family's published sequence classification head is built (see ``ClassificationHead``)."""

    activation: str
    dropout_first: bool


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of pretrained models.

    Attributes:
        name: ``model_type`` in config.json.
        presets: published sizes.
        config: for each field of ``ArchSpec`` that config.json holds, its key there.
        config_constants: other keys that a written config.json needs.
        prefix: what precedes the body's names when a head is in the checkpoint too.
        body: weight names of the backbone.
        heads: weight names of each kind of head.
        tied: names in the checkpoint that repeat the word table; written by nobody, ignored on reading.
        ignored: endings of names that hold no weights (buffers).
        legacy: (old, new) endings of names that older checkpoints use.
        classification: style of the sequence classification head.
        lm_activation: activation in the vocabulary head; None: that of the feed-forward part.
        architectures: class that ``transformers`` loads for a set of head kinds.
        tokenizer: class of ``transformers``' tokenizer, written to tokenizer_config.json.
        lowercase: default when only a vocab.txt is there.
    """

    name: str
    presets: Mapping[str, ArchSpec]
    config: Mapping[str, str]
    config_constants: Mapping[str, Any] = field(default_factory=dict)
    prefix: str
    body: Sequence[Row]
    heads: Mapping[str, Sequence[Row]]
    tied: Sequence[str] = ()
    ignored: Sequence[str] = ()
    legacy: Sequence[tuple[str, str]] = ()
    classification: HeadStyle
    lm_activation: str | None = None
    architectures: Mapping[frozenset[str], str]
    tokenizer: str
    lowercase: bool = True
