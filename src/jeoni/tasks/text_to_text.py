"""Text to text: whatever the task, a text is read and another one written.

Sources: Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer",
JMLR 2020, section 2.4 (an encoder-decoder; prefixes say which task); Radford et al., "Language models are
unsupervised multitask learners", 2019, section 3 (a decoder goes on with the text).
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Ints
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.metrics.scales import in_percent
from jeoni.models.decoding import language_model_loss
from jeoni.models.heads import language_model_head
from jeoni.models.lines import HEAD
from jeoni.report.sections import NOTHING, Section
from jeoni.tasks import _templates, _text_scores
from jeoni.tasks._task import Encoded, Scores, Task, TaskType, Verdict
from jeoni.tasks._text_features import WRITTEN
from jeoni.tasks._text_layout import Layout, plain
from jeoni.tasks._text_report import is_right, text_sections
from jeoni.tasks._text_scores import MAIN, TextMetric, Units

FULL = "sources that fill max_source (cut if longer)"
SOLUTION = 256  # tokens
_GUESSED = 100  # examples that are looked at
Kept = tuple[str, float]
"""What was written, and its probability."""


class TextToTextConfig(Config):
    """Settings of text-to-text.

    Attributes:
        source: what is read, with names of fields in braces: ``"summarize: {document}"``; by default by the
            fields that the data have.
        target: what is to be written, likewise. Of a list each member is accepted, and the first learned.
        references: what else is accepted; by default nothing but ``target``.
        names: what is written for a value of the target, where it is not the value itself:
            ``{"0": "negative", "1": "positive"}``.
        separator: text between what is read and what is written, where one stack does both.
        max_source: longest source in tokens; what is longer is cut at its end.
        max_target: longest target in tokens, and longest text that is written.
        beams: texts that are followed at once when writing; 1: always the likeliest token.
        length_penalty: of beams, see ``jeoni generate``.
        metric: the figure that counts; the data set gives it if this does not.
        units: what BLEU and ROUGE count; characters where the targets are Korean.
    """

    source: str | None = None
    target: str | None = None
    references: str | None = None
    names: dict[str, str] = Field(default_factory=dict)
    separator: str = "\n"
    max_source: int = Field(256, ge=1)
    max_target: int = Field(64, ge=2)
    beams: int = Field(1, ge=1)
    length_penalty: float = 1.0
    metric: TextMetric = "squad_v1"
    units: Units = "words"

    @field_validator("source", "target", "references")
    @classmethod
    def _names_a_column(cls, template: str | None) -> str | None:
        if template is not None and not _templates.places(template):
            raise ValueError(f"names of columns stand in braces: {{{template}}}")
        return template


@dataclass(frozen=True)
class TextPrediction:
    """What was written for one example, and how probable it was, its end included."""

    text: str
    probability: float


@dataclass(frozen=True)
class EncodedTexts(Encoded):
    """Examples, and what the model reads of each.

    Attributes:
        sizes: tokens before the first that is written, of each example.
    """

    sizes: Sequence[int]

    @property
    def lengths(self) -> Ints:
        """Without what is to be written."""
        return np.array(self.sizes, np.int64)

    def prompt(self, index: int) -> list[int]:
        """Ids before the first that is written, of one example."""
        first = self.features.bounds[index]
        ids: list[int] = self.features.ids[first : first + self.sizes[index]].tolist()
        return ids


class TextToText(Task[Kept, TextPrediction]):
    """Writes a text for a text."""

    config: TextToTextConfig

    def attach(self, seed: int) -> None:
        """The head that writes, on an encoder-decoder or a model that reads from left to right."""
        model, spec = self.model, self.model.spec
        if not hasattr(model.backbone, "extend") or not (spec.causal or spec.decoder_layers):
            raise UserError(
                f"text_to_text: this {model.family.name} model does not write",
                hint="take one with a decoder (t5, bart), or one that reads from left to right (gpt2)",
            )
        self.main_metric = MAIN.get(self.config.metric, self.config.metric)
        config = self.config
        self.layout = Layout(model, config.separator, config.max_source, config.max_target)
        if model.keep_head(HEAD) is None:
            model.add_head(HEAD, language_model_head(model), seed=seed)
        model.labels = None

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> EncodedTexts:
        """Sources and targets by their templates; the target ``written``: ids at their places."""
        prompts, cut = self.layout.prompts([self._source(record) for record in records])
        notes = {FULL: cut}
        sizes = [len(ids) for ids in prompts]
        if not labeled:
            return EncodedTexts(records, plain(prompts), notes, sizes)
        references = [self._references(record) for record in records]
        where = [record.where for record in records]
        _text_scores.check(self.config.metric, references, where)
        targets = [self._targets(record)[:1] or [""] for record in records]
        written, shortened = self.layout.written([text for (text,) in targets])
        notes["targets cut"] = shortened
        return EncodedTexts(records, self.layout.features(prompts, written), notes, sizes)

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """What the model reads of texts, each put into the source's template if that has one place."""
        template = self.config.source
        filled = [_templates.filled(template, text) if template else text for text in texts]
        found, cut = self.layout.prompts(filled)
        if cut:
            warnings.warn(f"{FULL}: {cut:,}", stacklevel=2)
        return found

    def asked(self, question: str, context: str) -> dict[str, str]:
        """Fields of a question; where the source's template has one place, it is the question's."""
        names = set(_templates.places(self.config.source or ""))
        only = dict.fromkeys(names, question) if len(names) == 1 else {}
        return {"question": question, "context": context, **only}

    def logits(self, batch: Batch) -> Tensor:
        """The states that write, ``[M, H]``; none, if there is nothing to compare with."""
        if WRITTEN not in batch.targets:
            return torch.empty(0, self.model.spec.hidden, device=self.model.device)
        hidden: Tensor = self.model(batch)
        return hidden

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy of the tokens of the targets, their ends included."""
        words = self.model.backbone.embeddings.words.weight
        return language_model_loss(self.model.heads[HEAD], logits, words, batch.targets[WRITTEN])

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Kept]:
        """What the model writes for each source of a batch."""
        assert isinstance(encoded, EncodedTexts)
        config = self.config
        prompts = [encoded.prompt(index) for index in indices]
        written = self.model.generate(
            prompts,
            max_new=config.max_target,
            beams=config.beams,
            length_penalty=config.length_penalty,
        )
        chances = self._chances(prompts, [list(line.ids) for line in written])
        return [((w.text or "").strip(), p) for w, p in zip(written, chances, strict=True)]

    def _chances(self, prompts: list[list[int]], written: list[list[int]]) -> list[float]:
        """How probable each text is."""
        batch = self.layout.features(prompts, written).batch(range(len(prompts)))
        batch = batch.to(self.model.device)
        sizes = list((batch.decoder or batch).lengths)
        rows = (torch.split(rows, sizes) for rows in (self.logits(batch), batch.targets[WRITTEN]))
        own = (
            self.loss(s, replace(batch, targets={WRITTEN: ids}))
            for s, ids in zip(*rows, strict=True)
        )
        return [math.exp(-float(loss.total)) for loss in own]

    def combine(self, encoded: Encoded, partials: Sequence[Kept]) -> list[TextPrediction]:
        """The texts."""
        return [TextPrediction(text, round(chance, 4)) for text, chance in partials]

    def score(self, encoded: Encoded, predictions: Sequence[TextPrediction]) -> Scores:
        """The figures of ``metric``."""
        references = [self._references(record) for record in encoded.records]
        texts = [prediction.text for prediction in predictions]
        return _text_scores.text_scores(self.config.metric, references, texts, self.config.units)

    def sections(
        self, encoded: Encoded, predictions: Sequence[TextPrediction], scores: Scores
    ) -> list[Section]:
        """Score by length of the target; sources with what should have been written, and what was."""
        return text_sections(
            [self._source(record) for record in encoded.records],
            [self._references(record) for record in encoded.records],
            [prediction.text for prediction in predictions],
            scores.per_example,
            metric=self.main_metric,
            best=self._best,
        )

    def confidences(
        self, encoded: Encoded, predictions: Sequence[TextPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """The probability of each whole text."""
        right = [is_right(score, self._best) for score in scores.per_example]
        return [p.probability for p in predictions], right

    def verdict(self, encoded: Encoded, prediction: TextPrediction, example: int) -> Verdict:
        """The text; a decoder alone reads its own words, too."""
        assert isinstance(encoded, EncodedTexts)
        written, _ = self.layout.written([prediction.text])
        features = self.layout.features([encoded.prompt(example)], written)
        right = " | ".join(self._references(encoded.records[example]))
        return Verdict(0, {}, prediction.text or NOTHING, right or NOTHING, features)

    @property
    def _best(self) -> float:
        """The score of a text that is right."""
        return 100.0 if in_percent("text_to_text", self.main_metric) else 1.0

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "text_to_text", **self.config.model_dump()}

    def _source(self, record: Record) -> str:
        return _templates.one(self._template("source", record), record)

    def _targets(self, record: Record) -> list[str]:
        return _templates.each(self._template("target", record), record, self.config.names)

    def _references(self, record: Record) -> list[str]:
        """What is accepted of an example."""
        template = self.config.references
        if template is None:
            return self._targets(record)
        return _templates.each(template, record, self.config.names)

    def _template(self, name: str, record: Record) -> str:
        template: str | None = getattr(self.config, name)
        if template is None:
            raise UserError(
                f"text_to_text: the data do not tell what the {name} is",
                hint=f"task.{name}='{{COLUMN}}'; columns: {', '.join(map(str, record.fields))}",
            )
        return template


def from_data(dataset: Dataset) -> dict[str, Any]:
    """Templates by the fields that there are; the data set's figure, if it is one of texts.

    Solutions that end with their number (GSM8K) are long, and lose it where they are cut.
    """
    settings: dict[str, Any] = dict(_templates.usual(dataset))
    if _text_scores.known(dataset.metric):
        settings["metric"] = dataset.metric
    elif dataset.task != "text_to_text":
        settings["metric"] = "accuracy"
    if settings.get("metric") == "final_number":
        settings["max_target"] = SOLUTION
    if "target" in settings:
        some = dataset.split(next(iter(dataset.sources)))[:_GUESSED]
        texts = _templates.readable(settings["target"], some)
        korean = sum(any("가" <= letter <= "힣" for letter in text) for text in texts)
        settings["units"] = "characters" if 2 * korean > len(texts) else "words"
        guessed = dataset.card is None and dataset.config.metric is None
        if guessed and 2 * korean > len(texts) and dataset.metric == "squad_v1":
            settings["metric"] = "korquad_v1"
    return settings


TASK = TaskType(
    TextToTextConfig,
    TextToText,
    from_data,
    "a text is read and another one written",
    sums=_text_scores.SUMS,
)
