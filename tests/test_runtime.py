"""Device, precision and facts of the machine."""

import contextlib
from pathlib import Path

import pytest
import torch

from jeoni.base import runtime
from jeoni.base.errors import UserError


def test_auto_is_what_there_is() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert runtime.device().type == expected
    assert runtime.device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"{name}.*sees no GPU"):
        runtime.device(name)


def test_a_rank_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *sizes, device: None)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert runtime.device() == torch.device("cuda", 3)
    assert runtime.device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["mps", "cuda:99", "xpu", "hpu"])
def test_a_kind_of_device_or_a_number_that_is_not_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match=f"no device '{name}' here"):
        runtime.device(name)


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with contextlib.suppress(KeyError), runtime.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
    with runtime.threads(None):
        assert torch.get_num_threads() == before


def test_a_device_of_no_kind() -> None:
    with pytest.raises(UserError, match="'gpu'"):
        runtime.device("gpu")


@pytest.mark.parametrize(("bf16", "amx", "expected"), [
    (True, False, "bf16"), (False, True, "bf16"), (False, False, "fp32"),
])  # fmt: skip
def test_auto_precision_is_what_pays(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, amx: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert runtime.precision("auto", "cpu") == expected
    assert runtime.precision("fp32", "cpu") == "fp32"
    assert runtime.precision("bf16", "cpu") == "bf16"
    with pytest.raises(UserError, match="no precision named 'fp8'"):
        runtime.precision("fp8", "cpu")


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast(name: str, dtype: torch.dtype) -> None:
    with runtime.autocast(name, "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize("name", ["bf16", "fp32"])
def test_facts_name_the_precision_that_was_used(name: str) -> None:
    assert runtime.facts("cpu", precision=name)["precision"] == name
    assert runtime.facts("cpu")["precision"] == runtime.precision("auto", "cpu")


def test_facts_name_machine_and_versions() -> None:
    facts = runtime.facts()
    assert facts["torch"] == torch.__version__
    assert facts["device"] == "cpu"
    assert facts["threads"] == torch.get_num_threads()
    assert {"jeoni", "python", "system", "processor", "cores", "precision"} <= facts.keys()
    assert all(facts.values())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_peak_memory_is_that_of_the_process() -> None:
    said = float(str(runtime.facts()["peak_memory"]).removesuffix(" GB"))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kibibytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    assert said == pytest.approx(1024 * int(kibibytes) / 1e9, rel=0.02)
