"""``jeoni plan``: arithmetic that can be checked by hand, and against published trainings."""

import json
from typing import Any

import pytest

import jeoni
from jeoni.base.errors import UserError
from jeoni.models.describe import describe
from jeoni.recipes import devices
from jeoni.recipes.devices import GPUS
from jeoni.recipes.plan import Line, Plan
from jeoni.recipes.plan_ways import USABLE, Way


def way(found: Plan, name: str, *, recompute: bool = False) -> Way:
    return next(w for w in found.ways if (w.name, w.recompute) == (name, recompute))


def line(found: Plan, what: str) -> Line:
    return next(entry for entry in found.lines if entry.what == what)


# Published: operations

# (preset, tokens, operations, how far ours may be, why). Brown et al., 2020, table D.1, which counts
# 6 (T5: 3) operations a parameter and token, and nothing for attention.
TABLE_D1 = [
    ("bert-base", 250e9, 1.64e20, 0.11),  # a fifth of it is a table that is looked up
    ("bert-large", 250e9, 5.33e20, 0.07),  # it has 355M parameters there
    ("roberta-base", 2000e9, 1.50e21, 0.21),  # 38M of 125M are a table that is looked up
    ("roberta-large", 2000e9, 4.26e21, 0.07),
    ("t5-base", 1000e9, 6.60e20, 0.13),
    ("t5-large", 1000e9, 2.31e21, 0.05),
    ("t5-3b", 1000e9, 9.00e21, 0.04),
    ("t5-11b", 1000e9, 3.30e22, 0.12),  # attention is 8%, wide as its heads are
    ("gpt3-125m", 300e9, 2.25e20, 0.09),
    ("gpt3-350m", 300e9, 6.41e20, 0.09),
    ("gpt3-760m", 300e9, 1.37e21, 0.06),
    ("gpt3-1.3b", 300e9, 2.38e21, 0.05),
    ("gpt3-2.7b", 300e9, 4.77e21, 0.05),
    ("gpt3-6.7b", 300e9, 1.20e22, 0.04),
    ("gpt3-13b", 300e9, 2.31e22, 0.03),
    ("gpt3-175b", 300e9, 3.14e23, 0.02),
]


@pytest.mark.parametrize(("name", "tokens", "flops", "tolerance"), TABLE_D1)
def test_operations_are_near_the_published(
    name: str, tokens: float, flops: float, tolerance: float
) -> None:
    found = jeoni.plan(name, tokens=tokens)
    assert found.flops == pytest.approx(flops, rel=tolerance)
    assert found.flops == line(found, "operations of the run").value


@pytest.mark.parametrize("name", [n for n, *_ in TABLE_D1 if n.startswith("gpt3")])
def test_operations_without_attention_are_the_published(name: str) -> None:
    """What is more than in the table is attention, which it leaves out."""
    tokens, published = next(row[1:3] for row in TABLE_D1 if row[0] == name)
    one = describe(name).operations
    assert (one.training - 3 * one.attention) * tokens == pytest.approx(published, rel=0.013)


def test_gpt3_as_megatron_trained_it() -> None:
    """Narayanan et al., 2021, section 5.1: 175B, 300B tokens, 1,024 A100, 140 Tflop/s each, 34 days.

    Those operations count recomputed ones, as the utilization here does.
    """
    found = jeoni.plan(
        "gpt3-175b", tokens=300e9, gpus=1024, gpu="a100-80", utilization=140 / 312,
        batch_tokens=2048 * 2048, bandwidth=1e15,
    )  # fmt: skip
    assert way(found, "fully sharded", recompute=True).days == pytest.approx(34, rel=0.03)


def test_gpt3_in_numbers() -> None:
    found = jeoni.plan("gpt3-175b", tokens=300e9, gpus=1024, gpu="h200")
    assert found.parameters == pytest.approx(174.6e9, rel=0.0005)
    assert line(found, "by the common estimate").value == pytest.approx(3.14e23, rel=0.003)
    assert line(found, "checkpoint").value == 12 * found.parameters
    everything = way(found, "data-parallel")
    assert not everything.fits
    assert everything.state == 16 * found.parameters
    assert everything.micro_batch == 0
    assert found.best is not None
    best = found.ways[found.best]
    assert best.name == "fully sharded"
    assert best.days == pytest.approx(3.17e23 / (1024 * 989e12 * 0.4) / 86400, rel=0.01)


# By hand


def test_a_plan_by_hand() -> None:
    """BERT-base on 8 A100: every figure from its definition."""
    found = jeoni.plan(
        "bert-base", tokens=1e9, gpus=8, gpu="a100-40", sequence=128, batch_tokens=8 * 64 * 128,
        utilization=0.5,
    )  # fmt: skip
    one = describe("bert-base", sequence=128)
    count = one.parameters.total
    assert (found.parameters, found.precision) == (count, "bf16")
    assert found.steps == -(-1_000_000_000 // 65536)
    assert found.flops == pytest.approx(one.operations.training * 1e9)

    plain = way(found, "data-parallel")
    assert plain.state == 16 * count
    loss = 30522 * (
        1024 * (2 + 4) + 4 * 768
    )  # logits and softmax of 1,024 rows, the table's gradient
    assert plain.working == (2 + 4) * count + loss
    assert plain.sequence_bytes == pytest.approx(one.memory.activations_fused, rel=1e-6)
    assert (plain.micro_batch, plain.rounds) == (64, 1)
    assert plain.memory == pytest.approx(22 * count + loss + 64 * plain.sequence_bytes)
    assert plain.compute_seconds == pytest.approx(one.operations.training * 8192 / (0.5 * 312e12))
    assert plain.traffic == pytest.approx(2 * 4 * count * 7 / 8)
    assert plain.traffic_seconds == pytest.approx(plain.traffic / 200e9)
    assert plain.step_seconds == plain.compute_seconds + plain.traffic_seconds
    assert plain.days == pytest.approx(found.steps * plain.step_seconds / 86400)

    again = way(found, "data-parallel", recompute=True)
    assert again.compute_seconds == pytest.approx(plain.compute_seconds * 4 / 3)
    assert again.sequence_bytes < plain.sequence_bytes / 2

    sharded = way(found, "fully sharded")
    rest = count - one.parameters.blocks  # larger than a block
    assert sharded.state == 2 * count
    assert sharded.working == 3 * 2 * rest + loss
    assert sharded.traffic == pytest.approx(3 * 2 * count * 7 / 8)
    assert sharded.step_seconds == max(sharded.compute_seconds, sharded.traffic_seconds)
    assert all(w.fits == (w.memory <= USABLE * 40e9) for w in found.ways)
    assert found.best == found.ways.index(min(found.ways, key=lambda w: w.step_seconds))


def test_what_does_not_fit_at_once_is_done_in_rounds() -> None:
    found = jeoni.plan("bert-large", tokens=1e9, gpu="t4", precision="fp32", sequence=512)
    only = way(found, "data-parallel")
    assert [w.name for w in found.ways] == ["data-parallel", "data-parallel"]
    assert only.fits
    assert only.rounds > 1
    assert only.micro_batch * only.rounds >= found.batch_tokens / 512
    assert only.traffic == 0
    loss = 30522 * (1024 * (4 + 4) + 4 * 1024)
    assert only.working == loss  # no copy in another precision, no bucket
    more = only.state + only.working + (only.micro_batch + 1) * only.sequence_bytes
    assert only.memory <= USABLE * 16e9
    assert more > USABLE * 16e9 or (only.micro_batch + 1) * (only.rounds - 1) < 1024
    assert way(found, "data-parallel", recompute=True).micro_batch > only.micro_batch


def test_nothing_fits() -> None:
    found = jeoni.plan("bert-large", tokens=1e9, gpu="t4", precision="fp32", micro_batch=1024)
    assert found.best is None
    assert not any(w.fits for w in found.ways)
    assert not any(entry.what == "processor hours" for entry in found.lines)


def test_the_default_batch_has_a_sequence_for_everyone() -> None:
    assert jeoni.plan("bert-base", tokens=1e9).batch_tokens == 2**19
    many = jeoni.plan("bert-base", tokens=1e9, gpus=3000)
    assert many.batch_tokens == 512 * 3000


def test_every_line_says_what_it_rests_on() -> None:
    found = jeoni.plan("electra-small", tokens=1e9, gpus=2, gpu="v100")
    assert all(len(entry.basis) > 8 for entry in found.lines)
    assert len({entry.what for entry in found.lines}) == len(found.lines) >= 12
    assert found.precision == "fp32"  # what jeoni trains in where there is no bfloat16
    half = jeoni.plan("electra-small", tokens=1e9, gpu="v100", precision="fp16")
    assert "scaled losses" in line(half, "utilization").basis


def test_an_encoder_decoder_reads_and_writes() -> None:
    found = jeoni.plan("t5-base", tokens=1e9, sequence=512, batch_tokens=1024 * 10)
    one = describe("t5-base", sequence=512)
    only = way(found, "data-parallel")
    assert only.micro_batch == 10
    peak = 989e12 * 0.4
    assert only.compute_seconds == pytest.approx(one.operations.training * 10240 / peak)


def test_figures_of_processors() -> None:
    assert GPUS["h200"].flops["bf16"] == 989e12
    assert GPUS["a100-40"].memory == 40e9
    assert "bf16" not in GPUS["t4"].flops
    assert all("NVIDIA" in gpu.source for gpu in GPUS.values())
    # Half of what the data sheet says of sparse matrices.
    assert 2 * GPUS["h100"].flops["bf16"] == pytest.approx(1979e12, rel=0.001)


def test_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    here = devices.this_machine(seconds=0.01)
    assert 1e8 < here.flops["fp32"] < 1e14
    assert here.memory > 1e8
    monkeypatch.setattr(devices, "_measured", lambda kind, seconds: 2e11)
    found = jeoni.plan("bert-L2-H128", tokens=1e6, gpu="cpu", sequence=128)
    assert line(found, f"peak of cpu in {found.precision}").value == 2e11


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"gpu": "h20"}, "no processor named 'h20'\n.*did you mean 'h200'"),
    ({"gpu": "t4", "precision": "bf16"}, "t4 has no peak figure for bf16\n.*fp16, fp32"),
    ({"batch_tokens": 100}, "100 tokens is fewer than one sequence of 512"),
    ({"tokens": 0}, "^tokens must be at least 1, and finite, not (0|inf)"),
    ({"tokens": float("inf")}, "^tokens must be at least 1, and finite, not (0|inf)"),
    ({"gpus": 0}, "^gpus must be at least 1, and finite, not 0"),
    ({"utilization": 1.5}, "^utilization must be above 0, and 1 at most, not 1.5"),
    ({"utilization": float("nan")}, "^utilization must be above 0"),
    ({"batch_tokens": -5}, "^batch_tokens must be at least 1, and finite, not -5"),
    ({"micro_batch": 0}, "^micro_batch must be at least 1"),
    ({"sequence": 0}, "^sequence must be at least 1, and finite, not 0"),
    ({"bandwidth": 0}, "^bandwidth must be above 0, and finite .*not 0"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        jeoni.plan("bert-base", **({"tokens": 1e9} | changes))


def test_on_the_command_line() -> None:
    from typer.testing import CliRunner

    from jeoni.cli.main import app

    command = ["plan", "--model", "bert-large", "--tokens", "250e9", "--gpus", "8", "--gpu", "h100"]
    plain = CliRunner().invoke(app, command)
    assert plain.exit_code == 0, plain.output
    for part in (
        "336.2 M parameters",
        "250 G tokens",
        "Kaplan",
        "fully sharded",
        "Fastest that fits",
    ):
        assert part in plain.output, part
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    assert found["flops"] == jeoni.plan("bert-large", tokens=250e9).flops
    assert {w["name"] for w in found["ways"]} == {"data-parallel", "fully sharded"}


def test_where_not_one_sequence_fits() -> None:
    """No count of sequences, and no times that nothing could have."""
    from typer.testing import CliRunner

    from jeoni.cli.main import app

    command = ["plan", "--model", "gpt3-175b", "--tokens", "300e9", "--gpus", "2", "--gpu", "t4"]
    out = CliRunner().invoke(app, command).output
    assert "Nothing fits" in out
    ways = [line for line in out.splitlines() if "data-parallel │" in line or "sharded │" in line]
    assert len(ways) == 4
    assert all("not one" in line and line.count("–") == 3 for line in ways)
    assert "0 x" not in out
