"""Labels of a data set: names, numbers, and what is none."""

from typing import Any

import pytest

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.standard import label_index, labels_of, named


def record(label: Any) -> Record:
    return Record({"text": "x", "label": label}, "my.csv", 7)


@pytest.mark.parametrize(
    ("label", "labels", "index"),
    [
        ("positive", ["negative", "positive"], 1),
        (" positive ", ["negative", "positive"], 1),
        (1, ["negative", "positive"], 1),
        ("0", ["negative", "positive"], 0),
        (1.0, ["negative", "positive"], 1),
        (True, ["False", "True"], 1),
        (1, ["1", "2", "3"], 0),  # a name before a number
        ("-1", ["-1", "1"], 0),
        (0.5, ["0.5", "1"], 0),
    ],
)
def test_label_index(label: Any, labels: list[str], index: int) -> None:
    assert label_index(record(label), labels) == index


@pytest.mark.parametrize(
    ("label", "labels"),
    [("neutral", ["no", "yes"]), (2, ["no", "yes"]), (0, ["1", "2"]), (-1, ["no", "yes"])],
)
def test_label_outside_the_classes(label: Any, labels: list[str]) -> None:
    with pytest.raises(UserError, match=f"(?s)my.csv, line 7: label '{label}'.*{labels[0]}"):
        label_index(record(label), labels)


@pytest.mark.parametrize("label", [None, "", " ", float("nan"), ["a"]])
def test_no_label(label: Any) -> None:
    with pytest.raises(UserError, match=r"my.csv, line 7: no label"):
        label_index(record(label), ["a", "b"])


def test_labels_of() -> None:
    assert labels_of([record("b"), record("a"), record("b")]) == ("a", "b")
    assert labels_of([record(10), record("9"), record(-1.0)]) == ("-1", "9", "10")
    with pytest.raises(UserError, match="every example has the label 'a'"):
        labels_of([record("a")] * 3)
    with pytest.raises(UserError, match="1001 different labels"):
        labels_of([record(i) for i in range(1001)])


@pytest.mark.parametrize("label", [0, "0", 0.0, "same"])
def test_a_number_is_the_data_sets_class_and_not_the_models(label: Any) -> None:
    theirs, models = ["same", "different"], ["different", "same"]
    assert label_index(named(record(label), theirs), models) == 1


@pytest.mark.parametrize("label", ["2", 1.5, None, True, "other"])
def test_what_is_no_number_of_a_class_stays(label: Any) -> None:
    assert named(record(label), ["same", "different"]).fields["label"] is label
