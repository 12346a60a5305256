"""What a report can show: plain data, one class for each kind of section.

Nothing here knows of tasks or models. The class attribute ``kind`` names the macro of
``sections.html`` that lays the section out; ``empty`` says that there is nothing to lay out.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeGuard

from jeoni.report.arcs import Arcs
from jeoni.report.listed import Listed
from jeoni.report.shaded import Shaded

Row = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Headline:
    """The few numbers that matter most, set large: ``{"F1": "61.3", "EM": "48.0"}``."""

    values: Mapping[str, object]
    note: str = ""
    title: str = ""
    kind: ClassVar[str] = "headline"

    @property
    def empty(self) -> bool:
        """No numbers."""
        return not self.values


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells (text, numbers, None). Columns of numbers are set flush right.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}, row {number}: "
                    f"{len(row)} cells for {len(self.columns)} columns"
                )

    @property
    def empty(self) -> bool:
        """No rows."""
        return not self.rows


@dataclasses.dataclass(frozen=True)
class Curves:
    """A line chart, for example of a loss by step.

    Args:
        title: heading of the section.
        rows: records, for example the lines of a metrics file. A record without ``x`` or ``y`` is
            passed over (training and evaluation lines may be mixed); a value that is not a finite
            number leaves a sentence under the chart.
        x: key of the horizontal coordinate, a number.
        y: key of the vertical coordinate, a number.
        series: key of what tells the lines apart; None: one line.
        note: a sentence under the chart.
        y_format: d3 format of the values, such as ``".3f"`` or ``".0%"``.
        x_log: a logarithmic axis, for amounts above 0.
    """

    title: str
    rows: Sequence[Row]
    x: str
    y: str
    series: str | None = None
    note: str = ""
    y_format: str = ""
    x_log: bool = False
    kind: ClassVar[str] = "chart"

    @property
    def empty(self) -> bool:
        """No point that can be drawn."""
        return not any(finite(row.get(self.x)) and finite(row.get(self.y)) for row in self.rows)

    @property
    def dropped(self) -> int:
        """How many points are not finite numbers."""
        pairs = [(row.get(self.x), row.get(self.y)) for row in self.rows]
        return sum(None not in pair and not (finite(pair[0]) and finite(pair[1])) for pair in pairs)


@dataclasses.dataclass(frozen=True)
class Bars:
    """Horizontal bars from zero, in the order given, each with its confidence interval if known.

    ``label``, ``value``, ``low`` and ``high`` are keys of the rows; so is ``mark``, a value to compare
    each bar with, drawn as a line across it.
    """

    title: str
    rows: Sequence[Row]
    label: str
    value: str
    low: str | None = None
    high: str | None = None
    mark: str | None = None
    note: str = ""
    value_format: str = ".1f"
    kind: ClassVar[str] = "chart"

    @property
    def empty(self) -> bool:
        """No bar that can be drawn."""
        return not any(finite(row.get(self.value)) for row in self.rows)

    @property
    def dropped(self) -> int:
        """How many bars have a value that is not a finite number."""
        return sum(not finite(row.get(self.value)) for row in self.rows)


@dataclasses.dataclass(frozen=True)
class Points:
    """A dot for each row, for example of errors by right value. ``x`` and ``y`` are keys of the rows."""

    title: str
    rows: Sequence[Row]
    x: str
    y: str
    note: str = ""
    kind: ClassVar[str] = "chart"

    @property
    def empty(self) -> bool:
        """No point that can be drawn."""
        return self.dropped == len(self.rows)

    @property
    def dropped(self) -> int:
        """How many points are not finite numbers."""
        return sum(not (finite(row.get(self.x)) and finite(row.get(self.y))) for row in self.rows)


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often (``matrix[gold][predicted]``) each label was taken for each.

    Raises:
        ValueError: the matrix is not square with one row for each label.
    """

    title: str
    labels: Sequence[str]
    matrix: Sequence[Sequence[int]]
    note: str = ""
    kind: ClassVar[str] = "confusion"

    def __post_init__(self) -> None:
        sizes = {len(self.matrix), *(len(row) for row in self.matrix)}
        if sizes != {len(self.labels)}:
            raise ValueError(f"confusion {self.title!r}: not {len(self.labels)} rows and columns")

    @property
    def empty(self) -> bool:
        """Nothing was counted."""
        return not any(any(row) for row in self.matrix)


@dataclasses.dataclass(frozen=True)
class Passage:
    """A question, its passage, and the answers in it.

    Args:
        question: the question.
        context: the passage.
        gold: spans of right answers, as ``(start, end)`` in characters (code points) of
            ``context``, ``end`` exclusive. They may overlap. None at all: it has no answer.
        predicted: the span that was predicted; None: "no answer" was predicted.
        good: whether the prediction counts as right.
        caption: a few words beside the mark right/wrong, such as a score.

    Raises:
        ValueError: a span is not inside the passage.
    """

    question: str
    context: str
    gold: Sequence[tuple[int, int]]
    predicted: tuple[int, int] | None
    good: bool
    caption: str = ""

    def __post_init__(self) -> None:
        for start, end in (*self.gold, *([self.predicted] if self.predicted else [])):
            if not 0 <= start <= end <= len(self.context):
                raise ValueError(
                    f"span ({start}, {end}) is outside the passage of {len(self.context)} "
                    f"characters (question {self.question!r})"
                )

    @property
    def answers(self) -> list[str]:
        """The right answers, each once, in order."""
        return list(dict.fromkeys(self.context[a:b] for a, b in self.gold))

    @property
    def prediction(self) -> str:
        """The predicted answer; empty for "no answer"."""
        return self.context[slice(*self.predicted)] if self.predicted else ""


@dataclasses.dataclass(frozen=True)
class Passages(Listed[Passage]):
    """Examples of reading comprehension, with the answers highlighted in the passage."""

    kind: ClassVar[str] = "passages"


Span = tuple[int, int, str]
"""Characters from start to before the end, and what they are."""


@dataclasses.dataclass(frozen=True)
class MarkedText:
    """A text with named spans, the right ones and the predicted ones; those of one side do not overlap.

    Raises:
        ValueError: spans that overlap, or lie outside the text.
    """

    text: str
    gold: Sequence[Span]
    predicted: Sequence[Span]
    good: bool

    def __post_init__(self) -> None:
        for side in (self.gold, self.predicted):
            place = 0
            for start, end, name in sorted(side):
                if not place <= start <= end <= len(self.text):
                    raise ValueError(f"span ({start}, {end}, {name!r}) overlaps, or is outside")
                place = end


@dataclasses.dataclass(frozen=True)
class Marked(Listed[MarkedText]):
    """Texts with named spans marked in them."""

    kind: ClassVar[str] = "marked"


NOTHING = "(nothing)"
"""How an answer without any text is shown."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A text, its right label, the predicted label and the probability (0 to 1) it was given."""

    text: str
    gold: str
    predicted: str
    good: bool
    confidence: float | None = None


@dataclasses.dataclass(frozen=True)
class Texts(Listed[Text]):
    """Examples of classification."""

    kind: ClassVar[str] = "texts"


@dataclasses.dataclass(frozen=True)
class KeyValues:
    """Names and values, such as a configuration. Nested mappings become dotted names."""

    title: str
    values: Mapping[str, object]
    note: str = ""
    kind: ClassVar[str] = "key_values"

    @property
    def empty(self) -> bool:
        """No names."""
        return not self.values


@dataclasses.dataclass(frozen=True)
class Note:
    """Prose; an empty line starts a new paragraph. No markup: all of it is shown as written."""

    title: str
    text: str
    note: str = ""
    kind: ClassVar[str] = "prose"

    @property
    def empty(self) -> bool:
        """No words."""
        return not self.text.strip()


Chart = Curves | Bars | Points
Section = (
    Headline
    | Table
    | Chart
    | Confusion
    | Passages
    | Marked
    | Texts
    | Shaded
    | Arcs
    | KeyValues
    | Note
)  # what a report is made of


def finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that can be drawn (numpy's scalars are)."""
    if value is None or isinstance(value, str | bool):
        return False
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except TypeError:
        return False
