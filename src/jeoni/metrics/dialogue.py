"""Scores for dialogue-state tracking: KLUE WoS, MultiWOZ. All are fractions."""

from collections.abc import Sequence

from jeoni.metrics.counts import check_pairs, of_sets, total

State = Sequence[str]
"""Of one turn: ``domain-slot-value``, compared as plain strings."""


def state_scores(references: Sequence[State], predictions: Sequence[State]) -> dict[str, float]:
    """Joint goal accuracy and slot F1.

    ``joint_goal_accuracy`` is the share of the turns whose whole state is right. KLUE's
    ``slot_micro_f1`` (Park et al. 2021, section 3.8) is in fact the mean of the turns' F1, and
    counts repeated wrong values each time; ``slot_micro_f1_pooled`` is the micro F1 over all turns.

    Args:
        references: right state of each turn; may be empty.
        predictions: predicted state of each turn.

    Raises:
        ValueError: no turn, or unequal lengths.
    """
    check_pairs(references, predictions, "turn")
    pairs = list(zip(references, predictions, strict=True))
    counts = total(of_sets(gold, found) for gold, found in pairs)
    return {
        "joint_goal_accuracy": sum(right_turns(references, predictions)) / len(pairs),
        "slot_micro_f1": sum(turn_f1(references, predictions)) / len(pairs),
        "slot_micro_f1_pooled": counts.f1,
    }


def right_turns(references: Sequence[State], predictions: Sequence[State]) -> list[float]:
    """1 for each turn whose whole state is right, else 0; errors as in ``state_scores``."""
    check_pairs(references, predictions, "turn")
    pairs = zip(references, predictions, strict=True)
    return [float(set(gold) == set(found)) for gold, found in pairs]


def turn_f1(references: Sequence[State], predictions: Sequence[State]) -> list[float]:
    """F1 of each turn, whose mean KLUE reports; errors as in ``state_scores``."""
    check_pairs(references, predictions, "turn")
    return [_turn_f1(gold, found) for gold, found in zip(references, predictions, strict=True)]


def _turn_f1(gold: State, found: State) -> float:
    if not gold:
        return float(not found)
    right = sum(value in found for value in gold)
    wrong = sum(value not in gold for value in found)
    return 2 * right / (right + wrong + len(gold))
