"""The peer: fine-tuning and prediction by the transformers ``Trainer`` (see ``job.py``).

transformers 5 has no span question answering of its own any more, so windows and decoding are
written here, as plainly as its course material used to: its fast tokenizer's overflow, ``[CLS]`` as
the target of windows without the answer, n-best over windows.
"""

import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from job import Job, Question, Result, StepClock, peak_memory_mb, read_questions, score, serve
from limits import Shape
from transformers import (
    AutoTokenizer,
    BertForQuestionAnswering,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

N_BEST = 20


@dataclass(frozen=True)
class Feature:
    """A window of a question's passage.

    Attributes:
        inputs: what the model takes: ids, mask and segments, padded if the variant pads them all.
        length: tokens that are not padding.
        question: index of the question.
        offsets: characters of each token in the passage; None outside of the passage.
    """

    inputs: dict[str, Any]
    length: int
    question: int
    offsets: list[tuple[int, int] | None]


def make_features(tokenizer: Any, questions: list[Question], job: Job) -> list[Feature]:
    """Windows of all questions, in their order."""
    encoded = tokenizer(
        [q.question.strip() for q in questions],
        [q.context for q in questions],
        truncation="only_second",
        max_length=job.max_length,
        stride=job.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length" if job.system == "padded" else False,
    )
    names = ("input_ids", "attention_mask", "token_type_ids")
    return [
        Feature(
            inputs={name: encoded[name][row] for name in names},
            length=sum(encoded["attention_mask"][row]),
            question=question,
            offsets=[
                span if part == 1 else None
                for span, part in zip(
                    encoded["offset_mapping"][row], encoded.sequence_ids(row), strict=True
                )
            ],
        )
        for row, question in enumerate(encoded["overflow_to_sample_mapping"])
    ]


def with_targets(feature: Feature, question: Question) -> dict[str, Any]:
    """The model's inputs with the first answer's tokens, or ``[CLS]`` if it is not all inside."""
    text, begin = question.answers[0]
    end = begin + len(text)
    passage = [(i, *span) for i, span in enumerate(feature.offsets) if span is not None]
    starts = [i for i, left, right in passage if left <= begin < right]
    ends = [i for i, left, right in passage if left < end <= right]
    start, stop = (starts[0], ends[-1]) if starts and ends else (0, 0)
    return {**feature.inputs, "start_positions": start, "end_positions": stop}


def arguments(job: Job, folder: str, *, training: bool) -> TrainingArguments:
    """Settings: the library's defaults, but for what the job fixes and what would only cost time."""
    # The option reorders evaluation, too: predictions would not belong to their features.
    grouped = training and job.system == "grouped"
    return TrainingArguments(
        output_dir=folder,
        seed=job.seed,
        use_cpu=True,
        bf16=job.precision == "bf16",
        num_train_epochs=job.epochs,
        max_steps=job.max_steps or -1,
        per_device_train_batch_size=job.batch_size,
        per_device_eval_batch_size=job.predict_batch_size,
        train_sampling_strategy="group_by_length" if grouped else "random",
        learning_rate=job.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=job.warmup_steps,
        weight_decay=job.weight_decay,
        max_grad_norm=job.clip,
        optim="adamw_torch_fused",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class ClockCallback(TrainerCallback):
    """Tells the clock of every step; the last batch of an epoch may be smaller."""

    def __init__(self, clock: StepClock, features: int, batch_size: int) -> None:
        self.clock, self.batch_size = clock, batch_size
        self.steps_per_epoch = -(-features // batch_size)
        self.last = features - (self.steps_per_epoch - 1) * batch_size

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the optimizer's step."""
        is_last = state.global_step % self.steps_per_epoch == 0
        self.clock(self.last if is_last else self.batch_size)


def train(
    job: Job, model: Any, collate: Any, features: list[Feature], questions: list[Question]
) -> StepClock:
    """Train ``model`` in place; gives the clock."""
    clock = StepClock(job.untimed_steps)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model=model,
            args=arguments(job, folder, training=True),
            train_dataset=[with_targets(f, questions[f.question]) for f in features],
            data_collator=collate,
            callbacks=[ClockCallback(clock, len(features), job.batch_size)],
        ).train()
    return clock


def predict(
    job: Job, model: Any, collate: Any, features: list[Feature]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Start and end logits, ``[features, T]`` each (padding: very low), and features a second."""
    inputs: Any = [feature.inputs for feature in features]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model, args=arguments(job, folder, training=False), data_collator=collate
        )
        trainer.predict(inputs[: job.untimed_steps * job.predict_batch_size])
        began = time.perf_counter()
        logits: Any = trainer.predict(inputs).predictions
        seconds = time.perf_counter() - began
    return logits[0], logits[1], len(features) / seconds


def decode(
    job: Job,
    questions: list[Question],
    features: list[Feature],
    starts: np.ndarray,
    ends: np.ndarray,
) -> dict[str, str]:
    """The best-scored span of each question over all its windows."""
    best: dict[str, tuple[float, str]] = {}
    for feature, start, end in zip(features, starts, ends, strict=True):
        question = questions[feature.question]
        inside = [i for i, span in enumerate(feature.offsets) if span is not None]
        lefts = sorted(inside, key=lambda i: -start[i])[:N_BEST]
        rights = sorted(inside, key=lambda i: -end[i])[:N_BEST]
        for left in lefts:
            for right in rights:
                if not left <= right < left + job.max_answer_tokens:
                    continue
                value = float(start[left] + end[right])
                if question.id not in best or value > best[question.id][0]:
                    begin, stop = feature.offsets[left], feature.offsets[right]
                    assert begin is not None
                    assert stop is not None
                    best[question.id] = value, question.context[begin[0] : stop[1]]
    return {id: text for id, (_, text) in best.items()}


def run(job: Job) -> Result:
    """Load, train, predict, score."""
    torch.set_num_threads(job.threads)
    set_seed(job.seed)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    model = BertForQuestionAnswering.from_pretrained(
        job.model, dtype=torch.float32, attn_implementation=job.attention
    )
    collate: Any = default_data_collator
    if job.system == "grouped":
        collate = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=job.pad_to)
    questions, dev_questions = read_questions(job.train), read_questions(job.dev)
    features = make_features(tokenizer, questions, job)
    dev_features = make_features(tokenizer, dev_questions, job)
    clock = train(job, model, collate, features, questions)
    starts, ends, predict_rate = predict(job, model, collate, dev_features)
    exact, f1 = score(dev_questions, decode(job, dev_questions, dev_features, starts, ends))
    shape = Shape.read(job.model)
    return Result(
        system=job.system,
        seed=job.seed,
        features=len(features),
        features_per_s=clock.rate,
        seconds=clock.seconds,
        peak_memory_mb=peak_memory_mb(),
        train_flops=shape.train_flops([f.length for f in features]),
        predict_features=len(dev_features),
        predict_features_per_s=predict_rate,
        predict_flops=shape.predict_flops([f.length for f in dev_features]),
        exact_match=None if job.max_steps else exact,
        f1=None if job.max_steps else f1,
    )


if __name__ == "__main__":
    serve(run)
