"""What a family is: presets, weight names, configuration names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from jeoni.models import backbone
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row
from jeoni.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class HeadStyle:
    """How a published head of the family is built (see ``ClassificationHead``).

    Attributes:
        activation: of the dense layer; None: there is no dense layer.
        dropout_first: dropout before the dense layer, too.
        token: which token stands for the sequence.
        bias: whether the output layer has one.
        dropout_key: config.json's name for the dropout; empty: it has none.
        dropout: where config.json does not say; None: that of the spec.
    """

    activation: str | None
    dropout_first: bool = False
    token: Literal["first", "last", "mean"] = "first"
    bias: bool = True
    dropout_key: str = "classifier_dropout"
    dropout: float | None = None


@dataclass(frozen=True)
class Published:
    """A model from files in a layout of its authors.

    Attributes:
        source: for messages.
        config: what config.json would say.
        tensors: reads the weights; by the names that the family's table has.
        tokenizer: None: as the family has it.
    """

    source: Path
    config: Mapping[str, Any]
    tensors: Callable[[], Mapping[str, Tensor]]
    tokenizer: Tokenizer | None


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """How a family's models are read that are not in Hugging Face layout.

    Attributes:
        knows: whether a path (of a file, or a folder without config.json) is of this layout; reads little.
        read: the model there.
    """

    knows: Callable[[Path], bool]
    read: Callable[[Path], Published]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of pretrained models.

    Attributes:
        name: ``model_type`` in config.json.
        presets: published sizes.
        spec: the dataclass of the presets; a subclass where the family needs more numbers.
        fixed: fields of ``spec`` that all members share and config.json does not tell.
        config: for each field of ``spec`` that config.json holds as it is, its key there.
        read: further fields of ``spec``, or better values, from a whole config.json.
        write: the inverse of ``read``: further keys of config.json.
        config_constants: other keys that a written config.json needs; from the spec, if a function.
        prefix: what precedes the body's names when a head is in the checkpoint too.
        bare: kinds of heads beside which the body's names have no prefix all the same.
        body: weight names of the backbone.
        heads: weight names of each kind of head.
        tied: names in the checkpoint that repeat the word table; written by nobody, ignored on reading
            (but for a head that has a row for the name, and a table of its own there).
        ignored: endings of names that hold no weights (buffers).
        unread: endings of names that no part reads; a body on its own is written with them.
        legacy: (old, new) endings of names that older checkpoints use.
        classification: style of the sequence classification head.
        tagging: of the tagging head, whose dropout alone differs.
        lm_activation: activation in the vocabulary head; None: that of the feed-forward part.
        lm_bias: whether the language model head has a bias that trains.
        build: from the spec to the backbone, where it is not the common transformer.
        architectures: class that ``transformers`` loads for a set of head kinds.
        tokenizer: class of ``transformers``' tokenizer, written to tokenizer_config.json.
        open_tokenizer: from a folder and the spec, where a family's tokenizer is none of the common ones.
        foreign: another layout that the family's models are published in.
        alone: ``transformers`` has no class for what names itself so in config.json.
        std: standard deviation of the fresh values of a weight (one, or one a row), from the spec and
            the weight's name in ``Model``; None: ``init_range`` for all.
    """

    name: str
    presets: Mapping[str, ArchSpec]
    spec: type[ArchSpec] = ArchSpec
    fixed: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str]
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    write: Callable[[Any], Mapping[str, Any]] | None = None
    config_constants: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] = field(
        default_factory=dict
    )
    prefix: str
    bare: Sequence[str] = ()
    body: Sequence[Row]
    heads: Mapping[str, Sequence[Row]]
    tied: Sequence[str] = ()
    ignored: Sequence[str] = ()
    unread: Sequence[str] = ()
    legacy: Sequence[tuple[str, str]] = ()
    classification: HeadStyle
    tagging: HeadStyle = HeadStyle(activation=None)
    lm_activation: str | None = None
    lm_bias: bool = False
    build: Callable[[Any], nn.Module] = backbone.build
    architectures: Mapping[frozenset[str], str]
    tokenizer: str
    open_tokenizer: Callable[[Path, Any], Tokenizer] | None = None
    foreign: Foreign | None = None
    alone: bool = False
    std: Callable[[Any, str], float | Tensor] | None = None

    def constants(self, spec: ArchSpec) -> Mapping[str, Any]:
        """Keys of config.json that stand where the checkpoint had none."""
        found = self.config_constants
        return found(spec) if callable(found) else found
