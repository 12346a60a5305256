"""Discriminative fine-tuning: lower rates for loaded parts, the lower the nearer to the input.

Source: Howard and Ruder, "Universal language model fine-tuning", ACL 2018, section 3.2; layer-wise
decay as in Clark et al., "ELECTRA", 2020, appendix A.
"""

from pydantic import Field

from jeoni.base.config import Config
from jeoni.models.model import Model
from jeoni.training.optimizer import ParamGroup
from jeoni.transfer._strategy import Strategy, split_by_decay


class DiscriminativeConfig(Config):
    """Settings.

    Attributes:
        decay: factor on the rate for each layer further from the head.
        new: factor on the rate for parts that were not loaded.
    """

    decay: float = Field(0.9, gt=0, le=1)
    new: float = Field(2.0, gt=0)


def groups(model: Model, config: DiscriminativeConfig) -> list[ParamGroup]:
    """A group a layer, and one for the new parts."""
    top = model.spec.depth + 1
    layers: dict[int, list[str]] = {}
    for name, _ in model.named_parameters():
        if name not in model.fresh:
            layers.setdefault(model.layer_of(name), []).append(name)
    result = []
    for depth, names in sorted(layers.items()):
        title = "embeddings" if depth == 0 else "head" if depth == top else f"layer {depth}"
        result += split_by_decay(model, title, names, lr_scale=config.decay ** (top - depth))
    return [*result, *split_by_decay(model, "new", model.fresh, lr_scale=config.new)]


STRATEGY = Strategy(
    DiscriminativeConfig, groups, "lower rates for loaded layers, higher for new parts"
)
