"""GPT-3: Brown et al., "Language models are few-shot learners", NeurIPS 2020.

GPT-2's layout, with "alternating dense and locally banded sparse attention patterns in the layers, similar
to the Sparse Transformer" (section 2.1). How wide a band is, it does not say: 256, as in GPT-Neo.

There is no checkpoint and no class of ``transformers``. A model without bands is GPT-2 in all, and is
written as such, so that everybody reads it; one with bands names itself ``gpt3`` in config.json (with
``windows``, one number a layer, repeated; 0 is dense), which only jeoni reads.

Two rows of table 2.1 do not agree with their own parameter counts (table D.1) nor with the width being
heads times head size, as it is in the others: XL (24 heads of 128, 2,048 wide) and 13B (5,140 wide, 40
heads of 128). The counts, 1,320M and 12,850M, are those of 16 heads, and of 5,120; so they are built.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.families import gpt2
from jeoni.models.spec import ArchSpec

BANDED = (0, 256)
LONG = {"positions": 2048, "windows": BANDED}


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """As GPT-2's, and how far each layer sees.

    Raises:
        UserError: as GPT-2's; also windows that are not numbers.
    """
    windows = config.get("windows") or []
    right = isinstance(windows, list) and all(type(w) is int and w >= 0 for w in windows)
    if not right:
        raise UserError(f"windows is {windows!r}, not a list of numbers of tokens (0: all)")
    return gpt2.read(config) | {"windows": tuple(windows)}


def write(spec: ArchSpec) -> dict[str, Any]:
    """The inverse of ``read``; without bands GPT-2's own."""
    own = {"windows": list(spec.windows)} if any(spec.windows) else {"model_type": "gpt2"}
    return gpt2.write(spec) | own


FAMILY = replace(
    gpt2.FAMILY,
    name="gpt3",
    alone=True,
    presets={
        "gpt3-125m": gpt2.sized(12, 768, 12, **LONG),
        "gpt3-350m": gpt2.sized(24, 1024, 16, **LONG),
        "gpt3-760m": gpt2.sized(24, 1536, 16, **LONG),
        "gpt3-1.3b": gpt2.sized(24, 2048, 16, **LONG),
        "gpt3-2.7b": gpt2.sized(32, 2560, 32, **LONG),
        "gpt3-6.7b": gpt2.sized(32, 4096, 32, **LONG),
        "gpt3-13b": gpt2.sized(40, 5120, 40, **LONG),
        "gpt3-175b": gpt2.sized(96, 12288, 96, **LONG),
    },
    read=read,
    write=write,
)
