"""jeoni (전이): transfer learning with classic pretrained language models, in Korean and English.

The verbs of the command line are functions here, but for ``demo``, ``tokenizer``, ``data list`` and
``models list``. They are imported when they are first used, so that ``import jeoni`` stays fast:

    jeoni.load(where)       a model and its tokenizer together
    jeoni.prepare(...)      plain text to token stores
    jeoni.pretrain(...)     train a language model on plain text
    jeoni.finetune(...)     transfer a model to a task
    jeoni.evaluate(...)     the task's official metrics
    jeoni.evaluate_suite(...)  one model on all data sets of a benchmark
    jeoni.compare(a, b)     whether one run is better than another, or only lucky
    jeoni.predict(...)      what a trained model says of a data set
    jeoni.describe(where)   a model in numbers: parts, parameters, operations, memory
    jeoni.plan(...)         how a training would fit and how long it would take
    jeoni.convert(...)      a checkpoint written anew, in today's names and files
    jeoni.answer(...)       ask a question about a passage
    jeoni.classify(...)     label a text
    jeoni.tag(...)          find entities in a text, or tag its words
    jeoni.study(...)        ways to pretrain, compared at equal budgets
    jeoni.embed(...)        texts as vectors, from any layer
    jeoni.generate(...)     go on from a text, or answer to it
"""

from typing import TYPE_CHECKING, Any

from jeoni.base.errors import UserError

if TYPE_CHECKING:
    from jeoni.models.convert import convert
    from jeoni.models.describe import describe
    from jeoni.models.hub import load
    from jeoni.recipes.compare import compare
    from jeoni.recipes.evaluate import evaluate
    from jeoni.recipes.finetune import finetune
    from jeoni.recipes.plan import plan
    from jeoni.recipes.predict import predict
    from jeoni.recipes.prepare import prepare
    from jeoni.recipes.pretrain import pretrain
    from jeoni.recipes.study import study
    from jeoni.recipes.suite import evaluate_suite
    from jeoni.serving.predictor import answer, classify
    from jeoni.serving.tagger import tag
    from jeoni.serving.vectors import embed
    from jeoni.serving.writer import generate

__version__ = "0.1.0"

_WHERE = {
    "answer": "jeoni.serving.predictor",
    "classify": "jeoni.serving.predictor",
    "compare": "jeoni.recipes.compare",
    "convert": "jeoni.models.convert",
    "describe": "jeoni.models.describe",
    "embed": "jeoni.serving.vectors",
    "evaluate": "jeoni.recipes.evaluate",
    "evaluate_suite": "jeoni.recipes.suite",
    "finetune": "jeoni.recipes.finetune",
    "generate": "jeoni.serving.writer",
    "load": "jeoni.models.hub",
    "plan": "jeoni.recipes.plan",
    "predict": "jeoni.recipes.predict",
    "prepare": "jeoni.recipes.prepare",
    "pretrain": "jeoni.recipes.pretrain",
    "study": "jeoni.recipes.study",
    "tag": "jeoni.serving.tagger",
}

__all__ = [
    "UserError",
    "__version__",
    "answer",
    "classify",
    "compare",
    "convert",
    "describe",
    "embed",
    "evaluate",
    "evaluate_suite",
    "finetune",
    "generate",
    "load",
    "plan",
    "predict",
    "prepare",
    "pretrain",
    "study",
    "tag",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'jeoni' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
