"""Features: the backbone stays as it is, and a small model on its layers learns (see ``_features``).

Sources: Peters et al., "Deep contextualized word representations", NAACL 2018; Devlin et al., "BERT", 2019,
section 5.3; Peters et al., "To tune or not to tune?", 2019, which compares this with fine-tuning.
"""

import warnings
from typing import Any

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.models.heads import check_pooling
from jeoni.models.model import Model
from jeoni.nn.heads import VocabularyHead
from jeoni.training.optimizer import ParamGroup
from jeoni.transfer._features import ABOVE, Features, FeaturesConfig
from jeoni.transfer._strategy import Strategy, split_by_decay

_OWN = ("features.", "heads.")


def edit(model: Model, config: FeaturesConfig, seed: int) -> None:
    """Put features between backbone and heads, and freeze the backbone.

    Those of a model that was saved with the same ones go on learning; else what stood on it is left out.

    Raises:
        UserError: the model has fewer layers than are wanted, or its first token sees no other.
    """
    if model.spec.layers < ABOVE.get(config.layers, 0):
        raise UserError(
            f"strategy.layers={config.layers}, but the model has {model.spec.layers} above the embeddings",
            hint="strategy.layers=last, or scalar_mix",
        )
    if config.body == "none":  # a BiLSTM's first state knows of all
        check_pooling(model, config.pooling, "strategy.pooling")
    body = {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    if body and body <= model.fresh:
        warnings.warn(
            "strategy 'features' leaves the model as it is, but its weights are random: nothing was loaded",
            stacklevel=2,
        )
    restore(model)
    if model.features is None or model.features.settings != config.model_dump():
        model.heads.clear()
        model.spare = {name: t for name, t in model.spare.items() if not name.startswith(_OWN)}
        model.fresh = {name for name in model.fresh if not name.startswith(_OWN)}
        model.add_features(_features(model, config), seed=seed)
    model.frozen = True


def groups(model: Model, config: FeaturesConfig) -> list[ParamGroup]:
    """The backbone frozen; features and head trained.

    Raises:
        UserError: the task writes text, which takes the whole model.
    """
    if model.features is None or any(isinstance(h, VocabularyHead) for h in model.heads.values()):
        raise UserError(
            "strategy 'features' is for tasks that judge what was read, not for those that write",
            hint="--strategy full",
        )
    named = [name for name, _ in model.named_parameters()]
    own = [name for name in named if not name.startswith("backbone.")]
    return [
        *split_by_decay(model, "backbone", {*named} - {*own}, frozen=True),
        *split_by_decay(model, "on top", own),
    ]


def restore(model: Model) -> None:
    """Put back what a saved model had between backbone and heads, with its weights; nothing, if nothing.

    Raises:
        UserError: the settings in jeoni.json, or the weights, are not those of features.
    """
    settings: Any = model.settings.get("features")
    if settings is None or model.features is not None:
        return
    if not isinstance(settings, dict):
        raise UserError(f"jeoni.json: features is {settings!r:.60}, not a section of settings")
    config = parse(FeaturesConfig, settings, where="jeoni.json", within="features")
    model.add_features(_features(model, config))
    missing = sorted(name for name in model.fresh if name.startswith("features."))
    if missing:
        raise UserError(f"weights are missing, or of another shape: {', '.join(missing)}")


def _features(model: Model, config: FeaturesConfig) -> Features:
    return Features(config, layers=model.spec.layers, hidden=model.spec.hidden)


STRATEGY = Strategy(
    FeaturesConfig,
    groups,
    "the model frozen, a small one on its layers trained (with a higher train.lr, such as 1e-3)",
    edit=edit,
)
