"""What a trained model says of the examples of a data set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.base.files import check_no_folder, check_not_read, named_problems, write_text
from jeoni.evaluation import runner
from jeoni.models.model import Model
from jeoni.recipes import examples
from jeoni.recipes.evaluate import Split, opened
from jeoni.recipes.run import plain


def predict(
    model: str | Path | Model,
    data: str | Mapping[str, Any],
    *,
    split: Split = "test",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    family: str | None = None,
    task: str | None = None,
) -> list[dict[str, Any]]:
    """Predictions of a trained model, whatever its task: labels, numbers, tags, answers, choices.

    Args:
        model: a run, a folder, anything ``jeoni.load`` takes, or a loaded model.
        data: a name of the catalog, or the keys of ``DataConfig``: ``{"test": "my.csv"}``.
        split: which part of the data; that of ``test`` needs no labels.
        settings: settings of the task that differ from those it was trained with.
        device: ``auto``, ``cpu``, ``cuda``.
        out: also write them to this file, as JSON lines.
        family: the model's family, where it is your own: ``package.module:NAME``.
        task: the same for the type of the task.

    Returns:
        For each example where it stands, and what the task predicts.
    """
    if out is not None:
        check_no_folder(Path(out), "predictions.jsonl")
    values = {"name": data} if isinstance(data, str) else data
    chosen, dataset = opened(model, values, settings, device=device, family=family, task=task)
    if out is not None:
        check_not_read(Path(out), dataset.paths)
    encoded = examples.encode(chosen, dataset, split, labeled=False)
    examples.tell(dataset)
    found = runner.predict(chosen, encoded, precision="fp32")
    both = zip(encoded.records, found, strict=True)
    rows = [{"at": record.where, **_named(plain(prediction))} for record, prediction in both]
    if out is not None:
        with named_problems(Path(out), "give another file with --out"):
            lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
            write_text(Path(out), "".join(lines))
    return rows


def _named(prediction: Any) -> dict[str, Any]:
    return prediction if isinstance(prediction, dict) else {"prediction": prediction}
