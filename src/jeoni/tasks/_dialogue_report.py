"""What the report of dialogue-state tracking shows."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from jeoni.data.dialogues import NONE, split
from jeoni.data.record import Record
from jeoni.metrics.counts import Counts
from jeoni.report.sections import NOTHING, Bars, Section, Table, Text, Texts
from jeoni.tasks._dialogue_types import StatePrediction

SHOWN = 12
CONFUSED = 20
State = Mapping[str, str]
"""From slots to values."""


def dialogue_sections(
    records: Sequence[Record], predictions: Sequence[StatePrediction], slots: Sequence[str]
) -> list[Section]:
    """Joint goal accuracy by turn; of each slot what was right; confused values; wrong states.

    Args:
        records: the turns.
        predictions: their states.
        slots: that the model knows.
    """
    gold = [_state(record.fields["state"], record) for record in records]
    said = [_state(p.state, r) for p, r in zip(predictions, records, strict=True)]
    names = list(dict.fromkeys((*slots, *(slot for state in gold for slot in state))))
    items = [
        Text(" / ".join(record.fields["turns"][-2:]), *_differences(a, b), a == b, p.probability)
        for record, a, b, p in zip(records, gold, said, predictions, strict=True)
    ]
    wrong = sorted((i for i in items if not i.good), key=lambda item: -(item.confidence or 0))
    return [
        Bars("Joint goal accuracy by turn of the user", _by_turn(records, gold, said),
             "turn", "share", value_format=".2f", note="all slots right after that turn"),
        Table("Slots", ("slot", "turns with it", "right", "missed", "other value",
                        "spurious", "F1", "accuracy"), _slots(names, gold, said),
              note="accuracy: of all turns, those in which the slot is right, also by being empty"),
        Table("Most confused values", ("slot", "right", "predicted", "turns"),
              _confused(gold, said)),
        Texts("Most confident errors (what differs)", wrong[:SHOWN]),
        Texts("Some right states", [i for i in items if i.good and i.gold][: SHOWN // 2]),
    ]  # fmt: skip


def _state(parts: Sequence[str], record: Record) -> State:
    return dict(split(part, record.where) for part in parts)


def _by_turn(
    records: Sequence[Record], gold: Sequence[State], said: Sequence[State]
) -> list[dict[str, object]]:
    turns: dict[int, list[bool]] = defaultdict(list)
    for record, a, b in zip(records, gold, said, strict=True):
        turns[record.fields["turn"]].append(a == b)
    return [
        {"turn": f"turn {turn} (n={len(hits)})", "share": sum(hits) / len(hits)}
        for turn, hits in sorted(turns.items())
    ]


def _slots(
    names: Sequence[str], gold: Sequence[State], said: Sequence[State]
) -> list[tuple[object, ...]]:
    """A row for each slot that is in a state, those first that are in most."""
    rows: list[tuple[int, tuple[object, ...]]] = []
    for name in names:
        pairs = Counter(
            (a.get(name, NONE), b.get(name, NONE)) for a, b in zip(gold, said, strict=True)
        )
        there = sum(n for (a, _), n in pairs.items() if a != NONE)
        found = sum(n for (_, b), n in pairs.items() if b != NONE)
        right = sum(n for (a, b), n in pairs.items() if a == b != NONE)
        missed = sum(n for (a, b), n in pairs.items() if a != NONE and b == NONE)
        false = sum(n for (a, b), n in pairs.items() if a == NONE and b != NONE)
        if there or found:
            other, same = there - right - missed, sum(n for (a, b), n in pairs.items() if a == b)
            f1 = Counts(right, found, there).f1
            row = (name, there, right, missed, other, false, f1, same / len(gold))
            rows.append((there, row))
    return [row for _, row in sorted(rows, key=lambda row: -row[0])]


def _confused(gold: Sequence[State], said: Sequence[State]) -> list[tuple[object, ...]]:
    pairs = Counter(
        (slot, a.get(slot, NONE), b.get(slot, NONE))
        for a, b in zip(gold, said, strict=True)
        for slot in a.keys() | b.keys()
        if a.get(slot) != b.get(slot)
    )
    most = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:CONFUSED]
    return [(*names, count) for names, count in most]


def _differences(gold: State, said: State) -> tuple[str, str]:
    """What only one of two states has; of equal ones, all of both."""
    mine, theirs = (
        [
            f"{slot}-{value}"
            for slot, value in state.items()
            if gold == said or other.get(slot) != value
        ]
        for state, other in ((gold, said), (said, gold))
    )
    return ", ".join(mine) or NOTHING, ", ".join(theirs) or NOTHING
