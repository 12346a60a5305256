"""mT5: Xue et al., "mT5: A massively multilingual pre-trained text-to-text transformer", NAACL 2021.

T5 v1.1 with a vocabulary of a hundred languages; nothing scales the output, tied or not.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from jeoni.models.families import t5


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """As T5's, without the scale.

    Raises:
        UserError: as T5's.
    """
    tied = config.get("tie_word_embeddings", False)
    return t5.read({"feed_forward_proj": "gated-gelu", **config}) | {
        "tied": tied,
        "output_scale": 1.0,
    }


FAMILY = replace(
    t5.FAMILY,
    name="mt5",
    presets={f"mt5-{name}": replace(spec, vocab=250112) for name, spec in t5.V1_1.items()},
    read=read,
    write=partial(t5.write, encoder="MT5EncoderModel"),
    architectures={kinds: f"M{name}" for kinds, name in t5.FAMILY.architectures.items()},
)
