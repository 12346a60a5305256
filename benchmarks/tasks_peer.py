"""The Trainer's side of ``tasks.py``: one fine-tuning and its official score.

At its best settings: length-grouped batches padded to their longest (a multiple of 8), the fused
optimizer, nothing logged or saved; predictions in the order of the file. The score is computed by the
same functions as jeoni's, from the Trainer's logits.
"""

import contextlib
import importlib.resources
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from jeoni.metrics.entities import entity_scores
from jeoni.metrics.labels import label_scores
from jeoni.metrics.regression import regression_scores

IGNORED = -100
Job = dict[str, Any]
Rows = list[dict[str, Any]]


def read(path: str) -> Rows:
    """JSON lines."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def checkpoint(name: str) -> str:
    """Folder of a checkpoint that may be in an installed package."""
    if not name.startswith("package:"):
        return name
    root = Path(str(importlib.resources.files(name.removeprefix("package:"))))
    return str(next(root.rglob("config.json")).parent)


def names_of(job: Job, rows: Rows) -> list[Any]:
    """The classes, or the tags, that training has."""
    if job["task"] == "tagging":
        return sorted({tag for row in rows for tag in row["tags"]})
    return sorted({row["label"] for row in rows})


def encode_texts(tokenizer: Any, rows: Rows, job: Job, names: list[Any] | None) -> Rows:
    """Ids of texts or pairs, with their classes or numbers."""
    pairs = [row["pair"] for row in rows] if "pair" in job["fields"] else None
    encoded = tokenizer(
        [row["text"] for row in rows], pairs, truncation=True, max_length=job["max_length"]
    )
    labels = [float(r["label"]) if names is None else names.index(r["label"]) for r in rows]
    return [
        {**{key: encoded[key][n] for key in encoded}, "labels": label}
        for n, label in enumerate(labels)
    ]


def encode_words(tokenizer: Any, rows: Rows, job: Job, names: list[Any]) -> Rows:
    """Ids of words; a word's first token has its tag."""
    encoded = tokenizer(
        [row["tokens"] for row in rows],
        is_split_into_words=True,
        truncation=True,
        max_length=job["max_length"],
    )
    features = []
    for number, row in enumerate(rows):
        words = encoded.word_ids(number)
        labels = [
            names.index(row["tags"][word])
            if word is not None and word != before and row["tags"][word] in names
            else IGNORED
            for before, word in zip([None, *words], words, strict=False)
        ]
        features.append({**{key: encoded[key][number] for key in encoded}, "labels": labels})
    return features


def settings(job: Job, folder: str, *, training: bool) -> TrainingArguments:
    """Of the Trainer. Its grouping reorders predictions too, which must stay in order."""
    return TrainingArguments(
        output_dir=folder,
        seed=job["seed"],
        use_cpu=True,
        bf16=job["precision"] == "bf16",
        num_train_epochs=job["epochs"],
        per_device_train_batch_size=job["batch"],
        per_device_eval_batch_size=job["batch"],
        train_sampling_strategy="group_by_length" if training else "random",
        learning_rate=job["lr"],
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        weight_decay=0.01,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def score(job: Job, logits: Any, rows: Rows, dev: Rows, names: list[Any] | None) -> float:
    """The official figure of ``metric``."""
    if names is None:
        found = regression_scores([float(row["label"]) for row in rows], logits[:, 0].tolist())
        return found[job["metric"]]
    best = logits.argmax(-1)
    if job["task"] != "tagging":
        gold = [names.index(row["label"]) for row in rows]
        return label_scores(gold, best.tolist(), len(names))[job["metric"]]
    predicted = []
    for row, feature, line in zip(rows, dev, best, strict=True):
        own = [names[tag] for tag, t in zip(line, feature["labels"], strict=False) if t != IGNORED]
        predicted.append(own + ["O"] * (len(row["tags"]) - len(own)))
    return entity_scores([row["tags"] for row in rows], predicted).as_dict()["f1"]


def run(job: Job) -> float:
    """Load, train, predict, score."""
    torch.set_num_threads(job["threads"])
    set_seed(job["seed"])
    where = checkpoint(job["model"])
    tokenizer = AutoTokenizer.from_pretrained(where)
    train, dev = read(job["train"]), read(job["dev"])
    names = None if job["task"] == "regression" else names_of(job, train)
    tagging = job["task"] == "tagging"
    kind = AutoModelForTokenClassification if tagging else AutoModelForSequenceClassification
    options: dict[str, Any] = {"attn_implementation": job["attention"], "dtype": torch.float32}
    model = kind.from_pretrained(where, num_labels=len(names) if names else 1, **options)
    if tagging:
        assert names is not None
        parts = [encode_words(tokenizer, rows, job, names) for rows in (train, dev)]
        collate: Any = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8)
    else:
        parts = [encode_texts(tokenizer, rows, job, names) for rows in (train, dev)]
        collate = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model=model,
            args=settings(job, folder, training=True),
            train_dataset=parts[0],
            data_collator=collate,
        ).train()
        plain = settings(job, folder, training=False)
        logits = Trainer(model=model, args=plain, data_collator=collate).predict(parts[1])
    return score(job, np.asarray(logits.predictions), dev, parts[1], names)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        value = run(json.load(sys.stdin))
    print(json.dumps({"score": value}))
