"""Charts in a report: what is drawn, what is left out, and in a browser."""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jeoni.report import plots
from jeoni.report.page import Report
from jeoni.report.sections import (
    Bars,
    Curves,
    finite,
)
from report_page import EVERYTHING, render


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "3", True, [1]])
def test_what_cannot_be_drawn(value: object) -> None:
    assert not finite(value)


def test_points_that_are_not_finite_are_left_out_and_counted() -> None:
    rows = [{"x": 0, "y": 1}, {"x": 1, "y": math.nan}, {"x": 2, "y": np.float32("inf")}, {"x": 3}]
    chart = Curves("C", rows, "x", "y")
    assert [p["x"] for p in plots.points(chart)] == [0]
    assert chart.dropped == 2
    page = render(chart)
    assert page.texts("p", "note") == ["Left out because not a finite number: 2."]


def test_keys_with_dots_and_brackets_can_be_drawn() -> None:
    chart = Curves("C", [{"eval.f1[0]": 1.0, "a.b": 2, "s'\"": "x"}], "a.b", "eval.f1[0]", "s'\"")
    drawn = plots.spec(chart)
    assert list(drawn["datasets"].values()) == [[{"x": 2.0, "y": 1.0, "series": "x"}]]


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(VALUES, st.integers(6, 60))
def test_thinning_keeps_ends_and_peaks(values: list[float], limit: int) -> None:
    line = [{"x": float(i), "y": y, "series": ""} for i, y in enumerate(values)]
    kept = plots.thin(line, limit)
    assert len(kept) <= limit
    assert [p for p in line if p in kept] == kept
    assert kept[0] == line[0]
    assert kept[-1] == line[-1]
    assert min(p["y"] for p in kept) == min(values)
    assert max(p["y"] for p in kept) == max(values)


def test_long_curves_are_thinned_by_series() -> None:
    rows = [{"x": i, "y": i % 7, "s": name} for i in range(20_000) for name in ("a", "b")]
    chart = Curves("C", rows[::-1], "x", "y", "s")
    drawn = plots.points(chart)
    assert len(drawn) <= 2000
    for name in ("a", "b"):
        xs = [p["x"] for p in drawn if p["series"] == name]
        assert xs == sorted(xs)
        assert (xs[0], xs[-1]) == (0, 19_999)


def test_many_bars_are_all_drawn_also_with_the_same_label() -> None:
    drawn = plots.spec(Bars("B", [{"n": "same", "v": i} for i in range(6000)], "n", "v"))
    (data,) = drawn["datasets"].values()
    assert len({bar["key"] for bar in data}) == 6000


@pytest.mark.parametrize(("values", "domain"), [([0, 0.0], [0, 1]), ([0, 0.5], None)])
def test_bars_of_nothing_begin_at_the_left(values: list[float], domain: list[int] | None) -> None:
    """Vega-Lite puts an axis that has one value alone in the middle."""
    drawn = plots.spec(Bars("B", [{"n": str(v), "v": v} for v in values], "n", "v"))
    (scale,) = [layer["encoding"]["x"].get("scale") for layer in drawn["layer"][:1]]
    assert (scale or {}).get("domain") == domain


def test_page_charts_take_their_colors_from_the_page() -> None:
    for chart in (EVERYTHING[3], EVERYTHING[4]):
        assert isinstance(chart, Curves | Bars)
        drawn = json.dumps(plots.spec(chart))
        assert "var(--series-1)" in drawn
        assert not re.search("#[0-9a-fA-F]{6}", drawn)


# A browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_browser_draws_the_charts_without_a_complaint(tmp_path: Path) -> None:
    path = Report("Report", "", EVERYTHING).write(tmp_path / "report.html")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
        "--enable-logging=stderr", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    seen = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert seen.count("<svg") == 3
    assert "실행 1" in seen
    assert "CONSOLE" not in done.stderr
