"""Use a trained model on text."""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jeoni.base import runtime
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.evaluation.runner import predict
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.serving.words import listed
from jeoni.tasks import _find as tasks
from jeoni.tasks._span_types import SpanPrediction
from jeoni.tasks._task import Task
from jeoni.tasks.classification import LabelPrediction
from jeoni.tasks.text_to_text import TextPrediction, TextToText
from jeoni.transfer.features import restore


@dataclass(frozen=True)
class Answer:
    """An answer found in a passage, or written.

    Attributes:
        text: the answer; "" for "no answer".
        start: first character in the passage; None of one that was written.
        end: behind the last character.
        score: start + end logit.
        probability: among the best candidates.
        candidates: further candidates as (text, probability), best first.
    """

    text: str
    start: int | None = None
    end: int | None = None
    score: float | None = None
    probability: float | None = None
    candidates: tuple[tuple[str, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Label:
    """The label given to a text, its probability, and the probabilities of all labels."""

    label: str
    probability: float
    probabilities: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Predictor:
    """A model with the task it was trained for, ready for use.

    Args:
        model: a run, a folder, anything ``jeoni.load`` takes, or a loaded model.
        task: which task to use it for; a type of your own as ``package.module:NAME``, unless its module is
            imported already.
        settings: settings of the task that differ from those it was trained with.
        device: ``auto``, ``cpu``, ``cuda``.
        family: the model's family, where it is your own: ``package.module:NAME``.

    Raises:
        UserError: the model was not trained for the task.
    """

    def __init__(
        self,
        model: str | Path | Model,
        task: str,
        *,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        family: str | None = None,
    ) -> None:
        loaded = model if isinstance(model, Model) else hub.load(model, family=family)
        loaded.to(runtime.device(device))
        if task == "span_qa" and loaded.settings.get("task") == "text_to_text":
            task = "text_to_text"  # which answers, too: it writes
        self.task = task_of(loaded, task, settings or {})

    def answer(self, questions: Sequence[str], contexts: Sequence[str]) -> list[Answer]:
        """An answer for each question, from the passage beside it; without one, where answers are written.

        Raises:
            UserError: an empty question or passage, more of the one than of the other, or a task type that
                gives something else.
        """
        questions, contexts = listed(questions, "questions"), listed(contexts, "contexts")
        if len(questions) != len(contexts):
            raise UserError(f"{len(questions)} questions, but {len(contexts)} passages")
        fields = [
            {"id": str(i), "question": question, "context": context}
            for i, (question, context) in enumerate(zip(questions, contexts, strict=True))
        ]
        _not_blank(fields, "question")
        if isinstance(self.task, TextToText):
            own = [self.task.asked(f["question"], f["context"]) for f in fields]
            return [Answer(p.text) for p in self._predict(own, TextPrediction)]
        _not_blank(fields, "context")
        found = self._predict(fields, SpanPrediction)
        return [_answer(prediction, c) for prediction, c in zip(found, contexts, strict=True)]

    def classify(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Label]:
        """A label for each text (or pair of texts).

        Raises:
            UserError: a text is nothing but blanks, there are more texts than pairs (or fewer), pairs (or
                none) where the model learned otherwise, or a task type that gives something else.
        """
        texts = listed(texts)
        self._must_be_as_learned(pairs is not None)
        fields = [{"text": text} for text in texts]
        if pairs is not None:
            pairs = listed(pairs, "pairs")
            if len(texts) != len(pairs):
                raise UserError(f"{len(texts)} texts, but {len(pairs)} to pair them with")
            fields = [{**f, "pair": pair} for f, pair in zip(fields, pairs, strict=True)]
            _not_blank(fields, "pair")
        _not_blank(fields, "text")
        names = self.task.model.labels or []
        return [
            Label(p.label, p.probabilities[p.index], dict(zip(names, p.probabilities, strict=True)))
            for p in self._predict(fields, LabelPrediction)
        ]

    def _must_be_as_learned(self, paired: bool) -> None:
        """A model that judges pairs judges nothing else; one that does not say, takes both."""
        known = self.task.model.settings
        columns = known.get("columns") if known.get("task") == "classification" else None
        if isinstance(columns, Mapping) and paired != ("pair" in columns):
            what = "texts, not pairs" if paired else "pairs of texts"
            way = (
                "go without pairs (--pair)" if paired else 'give the second text, too: --pair "..."'
            )
            raise UserError(f"this model was trained on {what}", hint=way)

    def _predict(self, fields: Sequence[Mapping[str, Any]], wanted: type) -> list[Any]:
        if not fields:
            return []
        records = [Record(dict(f), "input", number, "item") for number, f in enumerate(fields, 1)]
        encoded = self.task.encode(records, labeled=False)
        for note, count in encoded.notes.items():
            if count and "cut" in note:
                warnings.warn(f"{note}: {count:,}", stacklevel=2)
        found = predict(self.task, encoded, precision="fp32")
        if not all(isinstance(prediction, wanted) for prediction in found):
            raise UserError(
                f"{type(self.task).__name__} gives {type(found[0]).__name__}, not {wanted.__name__}"
            )
        return found


def task_of(
    model: Model,
    name: str,
    settings: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
) -> Task[Any, Any]:
    """The task a model was trained for, with its head; where that is refused, the model stays as it was.

    Args:
        model: as it was saved.
        name: what it is to be used for; a type of one's own as ``package.module:NAME``.
        settings: those that differ.
        defaults: those that differ where the task has them.

    Raises:
        UserError: the model has no head for it, or was trained for another task.
    """
    kind = tasks.trained(model.settings.get("task", name), name)
    options = kind.config.model_fields
    known = {k: v for k, v in model.settings.items() if k in options}
    known |= {k: v for k, v in (defaults or {}).items() if k in options}
    if "max_length" not in known and "max_length" in options:
        default = options["max_length"].default
        known["max_length"] = min(default, model.spec.positions)
    if not isinstance(settings, Mapping):
        raise UserError(f"settings must be a mapping, such as {{KEY: VALUE}}, not {settings!r:.60}")
    config = parse(kind.config, {**known, **settings}, where="task")
    with _as_it_was(model):
        restore(model)
        fresh = set(model.fresh)
        task = kind.task(model=model, config=config)
        if model.fresh - fresh:
            raise UserError(
                f"this model has no trained head for {name}",
                hint="fine-tune it first: jeoni finetune --model MODEL --data DATA",
            )
    return task


@contextmanager
def _as_it_was(model: Model) -> Iterator[None]:
    """Takes back what a block that fails has done to a model: heads, labels, a longer vocabulary.

    Nothing here changes a weight in place.
    """
    before = twin(model)
    try:
        yield
    except UserError:
        model.__dict__.update(before.__dict__)
        raise


def twin(model: Model) -> Model:
    """A model of the same weights, not copied, that may get other heads, labels and tokens."""
    tensors = (*model.parameters(), *model.buffers(), *model.spare.values())
    same = {id(part): part for part in (*tensors, model.family, model._tokenizer)}
    return copy.deepcopy(model, same)


def answer(
    model: str | Path | Model,
    question: str,
    context: str = "",
    *,
    device: str = "auto",
    task: str = "span_qa",
    family: str | None = None,
    **settings: Any,
) -> Answer:
    """Ask a question about a passage.

    Args:
        model: a run, a folder, anything ``jeoni.load`` takes, or a loaded model.
        question: the question.
        context: the passage; longer ones are read in windows. A model that writes (``text_to_text``) may
            need none.
        device: ``auto``, ``cpu``, ``cuda``.
        task, family: of your own, see ``Predictor``.
        settings: of the task, for example ``max_answer=10`` or ``no_answer=True``.
    """
    predictor = Predictor(model, task, settings=settings, device=device, family=family)
    return predictor.answer([question], [context])[0]


def classify(
    model: str | Path | Model,
    texts: str | Sequence[str],
    pairs: str | Sequence[str] | None = None,
    *,
    device: str = "auto",
    task: str = "classification",
    family: str | None = None,
) -> list[Label]:
    """Label texts, or pairs of texts; arguments as in ``answer``."""
    texts = listed(texts)  # a mistake there is found before anything is loaded
    return Predictor(model, task, device=device, family=family).classify(texts, pairs)


def _not_blank(fields: Sequence[Mapping[str, Any]], name: str) -> None:
    for number, values in enumerate(fields, 1):
        if not str(values[name]).strip():  # of what is no text, encoding tells
            raise UserError(f"input {number}: the {name} is empty")


def _answer(prediction: SpanPrediction, context: str) -> Answer:
    import math

    rivals = prediction.n_best
    top = rivals[0].score if rivals else 0.0
    total = sum(math.exp(c.score - top) for c in rivals)
    candidates = tuple(
        (context[c.start : c.end], math.exp(c.score - top) / total) for c in rivals[:5]
    )
    p = prediction
    return Answer(p.text, p.start, p.end, p.score, p.probability, candidates)
