"""Learning rate over time, and where epochs end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jeoni.base.batch import Batch
from jeoni.training.config import TrainConfig
from jeoni.training.plan import Plan
from jeoni.training.schedule import clock_factor, factor, warmup_steps
from training_toy import ToyBatches

KINDS = ("linear", "cosine", "constant")


@pytest.mark.parametrize(
    ("step", "total", "warmup", "kind", "expected"),
    [
        (0, 10, 0, "linear", 1.0),
        (9, 10, 0, "linear", 0.1),
        (10, 10, 0, "linear", 0.0),
        (0, 10, 4, "linear", 0.25),
        (3, 10, 4, "linear", 1.0),
        (4, 10, 4, "linear", 1.0),
        (7, 10, 4, "linear", 0.5),
        (0, 100, 0.1, "constant", 0.1),
        (9, 100, 0.1, "constant", 1.0),
        (99, 100, 0.1, "constant", 1.0),
        (5, 10, 0, "cosine", 0.5),
        (10, 10, 0, "cosine", 0.0),
        (2, 3, 50, "linear", 1.0),
        (0, 1, 0.1, "linear", 1.0),
        (0, 10, 1, "linear", 1.0),  # from 1 on it is steps
        (0, 12, 0.1, "constant", 0.5),  # 1.2 steps are two
    ],
)
def test_schedule(step: int, total: int, warmup: float, kind: str, expected: float) -> None:
    assert factor(step, total, warmup, kind) == pytest.approx(expected)


@given(st.integers(1, 300), st.floats(0, 400), st.sampled_from(KINDS))
def test_schedule_rises_then_never_rises_again(total: int, warmup: float, kind: str) -> None:
    rates = [factor(step, total, warmup, kind) for step in range(total)]
    rise = warmup_steps(total, warmup)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:rise] == sorted(rates[:rise])
    assert rates[rise:] == sorted(rates[rise:], reverse=True)
    assert max(rates) == 1


def test_schedule_of_unknown_kind() -> None:
    with pytest.raises(ValueError, match="exponential"):
        factor(0, 10, 0, "exponential")


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"epochs": 2}, (7, 14)),
        ({"epochs": 1.5}, (7, 11)),
        ({"epochs": 0.01}, (1,)),
        ({"steps": 5}, (5,)),
        ({"steps": 14}, (7, 14)),
        ({"steps": 15, "epochs": 1}, (7, 14, 15)),
    ],
)
def test_plan(settings: dict[str, float], ends: tuple[int, ...]) -> None:
    plan = Plan.make(ToyBatches(steps=7), TrainConfig(**settings))
    assert tuple(plan.ends) == ends
    places = [plan.locate(step) for step in range(plan.total)]
    assert places == [divmod(step, 7) for step in range(plan.total)]
    assert [plan.epoch(s) for s in range(plan.total + 1)] == pytest.approx(
        [s / 7 for s in range(plan.total + 1)]
    )


@pytest.mark.parametrize(("epochs", "steps"), [(1.1, 11), (2.2, 22), (1.11, 12), (1e-9, 1)])
def test_a_part_of_an_epoch_rounds_up_to_whole_steps(epochs: float, steps: int) -> None:
    assert Plan.make(ToyBatches(steps=10), TrainConfig(epochs=epochs)).total == steps


def test_epoch_without_steps_is_an_error() -> None:
    with pytest.raises(ValueError, match="no steps"):
        Plan.make(ToyBatches(steps=0), TrainConfig())


def test_the_clock_gives_the_same_shapes() -> None:
    for kind in ("linear", "cosine", "constant"):
        assert clock_factor(0.05, 3, 0.1, kind) == pytest.approx(0.5, abs=1e-4)
        assert clock_factor(0.1, 3, 0.1, kind) == pytest.approx(1.0, abs=1e-4)
    assert clock_factor(0.55, 3, 0.1, "linear") == pytest.approx(0.5, abs=1e-4)
    assert clock_factor(1.2, 3, 0.1, "cosine") == pytest.approx(0.0, abs=1e-4)
    # A warm-up in steps is in steps, whatever the time.
    assert clock_factor(0.5, 1, 10, "linear") == pytest.approx(0.2)
    assert clock_factor(0.5, 10, 10, "linear") == pytest.approx(0.5, abs=1e-4)


class Growing:
    """Each epoch has a step more."""

    def steps(self, epoch: int) -> int:
        return 3 + epoch

    def get(self, epoch: int, step: int, rank: int, world: int) -> list[Batch]:
        return []


def test_epochs_may_have_different_sizes() -> None:
    plan = Plan.make(Growing(), TrainConfig(epochs=2.5))
    assert (plan.ends, plan.total) == ([3, 7, 10], 10)
    assert [plan.locate(step) for step in (2, 3, 7)] == [(0, 2), (1, 0), (2, 0)]
    assert [plan.epoch(step) for step in (3, 5, 10)] == pytest.approx([1, 1.5, 2.6])
    assert Plan.make(Growing(), TrainConfig(steps=5)).ends == [3, 5]


def test_epochs_of_a_run_by_the_clock_come_as_they_are_reached() -> None:
    plan = Plan.make(Growing(), TrainConfig(hours=1))
    assert plan.ends == [3]
    assert [plan.locate(step) for step in (2, 3, 7, 0)] == [(0, 2), (1, 0), (2, 0), (0, 0)]
    assert plan.epoch(5) == 1.5
