"""ELMo: Peters et al., "Deep contextualized word representations", NAACL 2018.

Words come as rows of characters; a convolution makes vectors of them, two LSTMs in each direction read
those, and a task gets a weighted sum of the three layers. Published weights are options.json and hdf5
(``_elmo_files.py``).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from jeoni.base.errors import UserError
from jeoni.models.families import _elmo_files
from jeoni.models.families._elmo_backbone import Elmo, ElmoSpec
from jeoni.models.family import Family, Foreign, HeadStyle
from jeoni.models.weights import Row, row
from jeoni.nn.elmo import PADDING, WORD_END, WORD_START
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.words import WordTokenizer

MOST = 16
"""Kinds of filters, and highway layers, that the table of names has room for."""


THEIRS = {
    "width": "char_cnn.embedding.dim",
    "hidden": "lstm.projection_dim",
    "layers": "lstm.n_layers",
    "feed_forward": "lstm.dim",
}
FIXED: dict[str, Any] = {"heads": 1, "segments": 0, "position_kind": "none"}


def _spec(cells: int, width: int, highways: int) -> ElmoSpec:
    return ElmoSpec(
        vocab=PADDING + 1,
        hidden=2 * width,
        layers=2,
        feed_forward=cells,
        width=16,
        activation="relu",
        highways=highways,
        dropout=0.5,
        **FIXED,
    )


ORIGINAL = _spec(4096, 512, 2)


class Characters:
    """A word as a row of characters: its UTF-8 bytes between marks, filled up.

    Args:
        length: of a row; a longer word is cut.
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, word: str) -> list[int]:
        """The row."""
        found = word.encode("utf-8", "ignore")[: self.length - 2]
        row = [WORD_START, *(byte + 1 for byte in found), WORD_END]
        return row + [PADDING] * (self.length - len(row))

    def name(self, row: Any) -> str:
        """The word of a row; what was cut off is not there."""
        found = bytes(int(n) - 1 for n in row if 1 <= n <= 256)
        return found.decode("utf-8", "replace")


def tokenizer(folder: Path, spec: ElmoSpec) -> Tokenizer:
    """A tokenizer; there is nothing to read."""
    characters = Characters(spec.characters)
    return WordTokenizer(characters, characters.name, size=spec.vocab)


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the spec from what options.json says, which our config.json has too.

    Raises:
        UserError: a part is missing, or a variant that was never published.
    """
    lstm, cnn = (_part(config, key) for key in ("lstm", "char_cnn"))
    filters = cnn.get("filters")
    if not isinstance(filters, list) or not all(_is_filter(entry) for entry in filters):
        raise UserError(f"char_cnn.filters is {filters!r}, should be [[width, number], ...]")
    if not 0 < len(filters) <= MOST or cnn.get("n_highway", 0) not in range(MOST + 1):
        raise UserError(f"there may be 1 to {MOST} kinds of filters, and {MOST} highway layers")
    length, widest = cnn.get("max_characters_per_token", 50), max(w for w, _ in filters)
    if not isinstance(length, int) or length < max(widest, 3):
        raise UserError(f"max_characters_per_token is {length!r}: fewer than a filter sees")
    if lstm.get("direction", "bidirectional") != "bidirectional":
        raise UserError("an ELMo of one direction is not supported")
    width, embedding = lstm.get("projection_dim"), cnn.get("embedding", {})
    values = {
        "vocab": cnn.get("n_characters", PADDING + 1),
        "width": embedding.get("dim") if isinstance(embedding, dict) else embedding,
        "hidden": 2 * width if isinstance(width, int) else width,
        "layers": lstm.get("n_layers"),
        "feed_forward": lstm.get("dim"),
        "filters": tuple((w, n) for w, n in filters),
        "activation": cnn.get("activation", "relu"),
        "highways": cnn.get("n_highway", 0),
        "characters": length,
        "cell_clip": lstm.get("cell_clip") or 0.0,
        "output_clip": lstm.get("proj_clip") or 0.0,
        "residual": lstm.get("use_skip_connections", False),
    }
    missing = [THEIRS.get(key, key) for key, value in values.items() if value is None]
    if missing:
        raise UserError(f"no {', '.join(missing)}")
    if values["vocab"] not in (PADDING, PADDING + 1):
        raise UserError(f"n_characters is {values['vocab']!r}, should be {PADDING + 1}")
    return {**values, "vocab": PADDING + 1}


def _part(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = config.get(key)
    if not isinstance(found, dict):
        raise UserError(f"no {key!r}", hint="is it the options.json of an ELMo?")
    return found


def _is_filter(entry: Any) -> bool:
    return (
        isinstance(entry, list | tuple)
        and len(entry) == 2
        and all(isinstance(n, int) and n > 0 for n in entry)
    )


def write(spec: ElmoSpec) -> dict[str, Any]:
    """The inverse of ``read``."""
    return {
        "lstm": {
            "use_skip_connections": spec.residual,
            "projection_dim": spec.hidden // 2,
            "cell_clip": spec.cell_clip,
            "proj_clip": spec.output_clip,
            "dim": spec.feed_forward,
            "n_layers": spec.layers,
        },
        "char_cnn": {
            "activation": spec.activation,
            "filters": [list(entry) for entry in spec.filters],
            "n_highway": spec.highways,
            "embedding": {"dim": spec.width},
            "n_characters": spec.vocab,
            "max_characters_per_token": spec.characters,
        },
    }


def std(spec: ElmoSpec, name: str) -> float | Tensor:
    """Fresh weights about as the authors' code draws them."""
    total = sum(n for _, n in spec.filters)
    if "embeddings.characters" in name:
        return 3**-0.5
    if "embeddings.filters" in name:
        return float(0.05 * 3**-0.5)
    if "embeddings." in name:
        return float(total**-0.5)
    if "stack." in name:  # Glorot and Bengio, 2010
        half, cells = spec.hidden // 2, spec.feed_forward
        outputs = half if "project" in name else 4 * cells
        return float((2 / (outputs + (cells if "project" in name else half))) ** 0.5)
    return spec.init_range


def _has(kind: str, number: int) -> Any:
    return lambda spec: number < (len(spec.filters) if kind == "filters" else spec.highways)


def _same(*names: str, optional: bool = False) -> tuple[Row, ...]:
    """There is no layout of others: names are ours."""
    return tuple(Row(name, (name,), optional=optional) for name in names)


def _when(rows: tuple[Row, ...], kind: str, number: int) -> tuple[Row, ...]:
    return tuple(replace(entry, when=_has(kind, number)) for entry in rows)


PARTS = ("input.weight", "recurrent.weight", "bias", "project.weight")

FAMILY = Family(
    name="elmo",
    presets={
        "elmo-small": _spec(1024, 128, 1),
        "elmo-medium": _spec(2048, 256, 1),
        "elmo-original": ORIGINAL,
        "elmo-original-5.5b": ORIGINAL,
    },
    spec=ElmoSpec,
    fixed=FIXED,
    config={"dropout": "dropout", "init_range": "initializer_range", "mix_norm": "mix_norm"},
    read=read,
    write=write,
    prefix="",
    body=(
        *_same("embeddings.characters.weight"),
        *(
            entry
            for n in range(MOST)
            for entry in _when(
                _same(f"embeddings.filters.{n}.weight", f"embeddings.filters.{n}.bias"),
                "filters",
                n,
            )
        ),
        *(
            entry
            for n in range(MOST)
            for entry in _when(
                _same(
                    *(
                        f"embeddings.highways.{n}.{part}"
                        for part in (
                            "transform.weight",
                            "transform.bias",
                            "gate.weight",
                            "gate_bias",
                        )
                    )
                ),
                "highways",
                n,
            )
        ),
        *_same("embeddings.project.weight", "embeddings.project.bias"),
        *_same(*(f"stack.blocks.{{i}}.{side}.{p}" for side in ("ahead", "behind") for p in PARTS)),
        # A task's own; the published files have none.
        *_same("mix.weights", "mix.scale", optional=True),
    ),
    heads={"span": row("out", "qa_outputs"), "classification": row("out", "classifier")},
    classification=HeadStyle(activation=None, token="mean"),
    build=Elmo,
    architectures={
        frozenset(): "ElmoModel",
        frozenset({"span"}): "ElmoForQuestionAnswering",
        frozenset({"classification"}): "ElmoForSequenceClassification",
    },
    tokenizer="",
    open_tokenizer=tokenizer,
    foreign=Foreign(knows=_elmo_files.knows, read=_elmo_files.read),
    alone=True,
    std=std,
)
