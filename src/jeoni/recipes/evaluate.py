"""Score a trained model on a data set with the official metrics."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jeoni.base import runtime
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.base.files import check_no_folder, check_not_read, named_problems, write_json
from jeoni.data.catalog import DataConfig, Dataset, open_dataset
from jeoni.data.kinds import KINDS
from jeoni.data.remembered import trusted
from jeoni.evaluation import runner
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes import examples
from jeoni.serving.predictor import task_of, twin
from jeoni.tasks import _find as tasks
from jeoni.tasks._task import Task
from jeoni.training import distributed

Split = Literal["train", "dev", "test"]
_AS_IT_IS = ("minimal_pairs", "retrieval")
"""Data that say nothing of what is to be written: any model is scored as it is."""


def evaluate(
    model: str | Path | Model,
    data: str | Mapping[str, Any],
    *,
    split: Split = "dev",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    family: str | None = None,
    task: str | None = None,
) -> dict[str, Any]:
    """Official metrics of a trained model.

    Processes that torchrun started share the work, and all give the same figures to the bit.

    Args:
        model: a run, a folder, anything ``jeoni.load`` takes, or a loaded model.
        data: a name of the catalog, or the keys of ``DataConfig``.
        split: which part of the data.
        settings: settings of the task that differ from those it was trained with.
        device: ``auto``, ``cpu``, ``cuda``.
        out: also write the result to this JSON file.
        family: the model's family, where it is your own: ``package.module:NAME``.
        task: the same for the type of the task. (A folder does not choose what is imported.)

    Returns:
        ``metrics`` by name, ``n``, the 95% bootstrap ``interval`` of the main metric, ``intervals`` of all
        that are means over examples or functions of sums over them, and ``notes``: what had to be done to
        the examples, counted; ``skipped``: what was passed over, if anything was.
    """
    if out is not None:
        check_no_folder(Path(out), "scores.json")
    values = {"name": data} if isinstance(data, str) else data
    chosen, dataset = opened(model, values, settings, device=device, family=family, task=task)
    if out is not None:
        check_not_read(Path(out), dataset.paths)
    if dataset.unlabeled(split):
        raise UserError(
            f"dataset {dataset.name!r}: its {split} has no labels",
            hint="what a model says of it: jeoni predict",
        )
    encoded = examples.encode(chosen, dataset, split)
    skipped = examples.tell(dataset)
    first = distributed.rank() == 0
    with distributed.session(chosen.model.device):
        result = runner.evaluate(chosen, encoded, show=first)
    intervals = result.scores.intervals(chosen.main_metric)
    low, high = intervals[chosen.main_metric]
    summary = {
        "model": str(model) if not isinstance(model, Model) else "a loaded model",
        "data": dataset.name,
        "split": split,
        "n": len(encoded.records),
        "metrics": {k: v if math.isfinite(v) else None for k, v in result.values().items()},
        "interval": {"metric": chosen.main_metric, "level": 0.95, "low": low, "high": high},
        "intervals": {name: list(pair) for name, pair in intervals.items()},
        "notes": dict(encoded.notes),
        **({"skipped": skipped} if skipped else {}),
    }
    if out is not None and first:
        with named_problems(Path(out), "give another file with --out"):
            write_json(Path(out), summary)
    return summary


def opened(
    model: str | Path | Model,
    values: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    *,
    device: str,
    family: str | None,
    task: str | None,
) -> tuple[Task[Any, Any], Dataset]:
    """The task that a model was trained for, and data for it; arguments as in ``evaluate``.

    Scored is what the data set says, whatever the model was trained on; files of one's own say so of
    questions, by the answers that they have, but not of other tasks.
    """
    config = parse(DataConfig, values, where="data")
    loaded = model if isinstance(model, Model) else hub.load(model, family=family)
    loaded.to(runtime.device(device))
    if loaded is model:  # the caller's keeps its heads and labels
        loaded = twin(loaded)
    trained = loaded.settings.get("task")
    writes = trained == "text_to_text"  # which takes data of any task
    if config.name is None:
        dataset = _own(config, loaded, tasks.ours(task) if task else trained)
    else:  # a task of the user's own takes what there is
        wanted: Any = tasks.full_name(task or "")
        dataset = open_dataset(config, task=wanted if wanted in KINDS else None)
    writes = writes and (task == trained or dataset.task not in _AS_IT_IS)
    says = config.metric or dataset.card or dataset.task == "span_qa"
    own = says and (not writes or dataset.task == trained)
    defaults = {"metric": dataset.metric} if own else {}
    name = task or ("text_to_text" if writes else dataset.task)
    if dataset.task == "classification" and not loaded.settings:
        loaded.labels = _as_the_data_have_them(loaded, dataset)
    return task_of(loaded, name, settings or {}, defaults=defaults), dataset


def _as_the_data_have_them(model: Model, dataset: Dataset) -> list[str] | None:
    """Class names of a model from elsewhere: POSITIVE is positive, and LABEL_1 the data's second class."""
    known, labels = list(dataset.labels or ()), model.labels
    head = dict(model.heads.items()).get("classification")
    if getattr(head, "classes", None) != len(known):
        return labels
    if labels is None or labels == [f"LABEL_{number}" for number in range(len(known))]:
        return known
    by_case = {name.casefold(): name for name in known}
    return [by_case.get(name.casefold(), name) for name in labels]


def _own(config: DataConfig, model: Model, reads: Any) -> Dataset:
    """Files of one's own, which may look like those of several tasks: the model tells which is meant.

    It tells the columns, too, that it was trained on, where the settings name none and the files have them.

    Args:
        config: names them.
        model: was trained for something.
        reads: name of the task; if it is none of ours, it is guessed.
    """
    trained = trusted(model.settings.get("columns"))
    if reads not in KINDS:
        return open_dataset(config, trained=trained)
    unit = model.settings.get("unit") if reads == "tagging" else None
    if unit == "character" and not (config.tokens or config.characters):
        usual = ("characters", "tokens", "text")
        own = [trained[name] for name in usual if name in trained]
        text = config.text or " | ".join([*own, *usual])
        config = config.model_copy(update={"characters": text})
    dataset = open_dataset(config, task=reads, trained=trained)
    first = dataset.split(next(iter(dataset.sources)))[0] if unit == "word" else None
    if first is not None and "tokens" not in first.fields:
        raise UserError(
            f"{first.where}: characters, but this model tags words",
            hint="data.tokens=COLUMN of lists of words, or data.text=COLUMN",
        )
    return dataset
