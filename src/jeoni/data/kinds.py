"""What the data of each task type look like: standard fields, labels, and the official scorer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.cards import Metric, Task
from jeoni.data.choices import choice_fields, choice_index
from jeoni.data.dialogues import dialogue_fields, states_of, user_turns
from jeoni.data.record import GROUP, Record
from jeoni.data.relations import relation_fields
from jeoni.data.standard import (
    Columns,
    check_said,
    label_name,
    label_number,
    labels_of,
    question_fields,
    text_fields,
    value,
)
from jeoni.data.tags import listed_tags, of_entities, tag_fields, tags_of
from jeoni.data.trees import relations_of, tree_fields
from jeoni.data.written import check_pairs, matched_fields, pair_fields, written_fields

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """The data of a task type.

    Attributes:
        fields: the standard fields of a record; the last argument says whether a missing label is an error.
        metric: of files of one's own, by their labels; None: see ``Dataset.metric``.
        labels: the labels that examples have; None where there are no such.
        listed: the same of a card's labels, for its metric.
        parts: the examples that a row of a file holds, where that may be several.
        label: of a standard record; raises what is wrong with it.
        texts: standard fields that are not empty, in files of one's own.
        check: of the examples of a split together; raises what is wrong with them.
    """

    fields: Callable[[Record, Columns, bool], dict[str, Any]]
    metric: Callable[[Labels], Metric] | None = None
    labels: Callable[[Sequence[Record]], Labels] | None = None
    listed: Callable[[Labels, Metric], Labels] = lambda labels, metric: labels
    parts: Callable[[Record, Columns], Iterator[Record]] | None = None
    label: Callable[[Record], object] | None = None
    texts: tuple[str, ...] = ()
    check: Callable[[Sequence[Record]], None] | None = None


TEXTS = ("text", "pair")
KINDS: Mapping[Task, Kind] = {
    "classification": Kind(
        text_fields, lambda labels: "accuracy", labels_of, label=label_name, texts=TEXTS
    ),
    "regression": Kind(text_fields, lambda labels: "pearson", label=label_number, texts=TEXTS),
    "tagging": Kind(
        tag_fields,
        lambda labels: "entity_f1" if of_entities(labels) else "tag_accuracy",
        tags_of,
        listed_tags,
    ),
    "dependency": Kind(tree_fields, lambda labels: "las", relations_of),
    "relation": Kind(
        relation_fields, lambda labels: "micro_f1", labels_of, label=label_name, texts=TEXTS
    ),
    "multiple_choice": Kind(
        choice_fields, lambda labels: "accuracy", label=choice_index, texts=TEXTS
    ),
    "span_qa": Kind(question_fields, texts=("question", "context")),
    "dialogue_state": Kind(
        dialogue_fields,
        lambda labels: "joint_goal_accuracy",
        states_of,
        parts=user_turns,
        texts=("text",),
    ),
    "text_to_text": Kind(written_fields, lambda labels: "squad_v1", texts=("source", "question")),
    "minimal_pairs": Kind(pair_fields, lambda labels: "minimal_pairs", texts=("good", "bad")),
    "retrieval": Kind(matched_fields, lambda labels: "mrr", texts=TEXTS, check=check_pairs),
}


def guess_task(first: Record, columns: Columns) -> Task:
    """The task that a file is for, by the columns that are set or that it has.

    Raises:
        UserError: they are those of none.
    """
    has = first.fields.keys() | {k for k in Columns.model_fields if getattr(columns, k)}
    if {"question", "context"} <= has:
        return "span_qa"
    if columns.heads or columns.relations:  # a treebank has tags too
        return "dependency"
    if has & {"tokens", "characters"} and has & {"tags", "upos"}:
        return "tagging"
    if "tokens" in has and has & {"heads", "head"} and has & {"relations", "deprel"}:
        return "dependency"
    if {"subject", "object"} <= has:
        return "relation"
    if "choices" in has:
        return "multiple_choice"
    if "dialogue" in has:
        return "dialogue_state"
    if {"source", "target"} <= has or ("question" in has and has & {"answer", "answers"}):
        return "text_to_text"
    if {"good", "bad"} <= has:
        return "minimal_pairs"
    if {"text", "pair"} <= has and len(first.fields) == 2:  # no third that could be the label
        return "retrieval"
    if has & {"text", "label"}:
        return "classification"
    raise UserError(
        f"{first.where}: columns {', '.join(first.fields)}: which is what?",
        hint="for classification: data.text=COLUMN data.label=COLUMN; "
        "for questions: data.question=COLUMN data.context=COLUMN data.answers=COLUMN; "
        "for texts to be written: data.source=COLUMN data.target=COLUMN; "
        "for tags: data.tokens=COLUMN (or data.characters) data.tags=COLUMN; "
        "for trees: data.tokens=COLUMN data.heads=COLUMN data.relations=COLUMN; "
        "for relations: data.text=COLUMN data.subject=COLUMN data.object=COLUMN",
    )


def standard_record(
    record: Record, task: Task, columns: Columns, *, labeled: bool, own: bool = False
) -> Record:
    """The record with the fields of its task (see ``jeoni.data.catalog.Dataset``).

    Args:
        labeled: a missing label is an error.
        own: an empty text is an error. (Some published data sets have such: NSMC, QQP.)

    Raises:
        UserError: a missing column, a value of the wrong type, or an answer that is not there.
    """
    kind = KINDS[task]
    values = kind.fields(record, columns, labeled)
    if columns.split_by:
        values[GROUP] = value(record, columns.split_by, "split_by")
    result = Record(values, record.source, record.line, record.unit)
    if own:
        check_said(result, kind.texts)
    if labeled and kind.label is not None:
        kind.label(result)
    return result
