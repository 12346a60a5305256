"""Charts: from data to a Vega-Lite drawing on a page.

Satyanarayan et al., "Vega-Lite: A Grammar of Interactive Graphics", InfoVis 2017. Colors (page.css)
are about those that Wong, "Points of view: Color blindness", Nature Methods 2011, tells apart for everyone.
"""

import functools
import itertools
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from jeoni.report.markup import HANGUL
from jeoni.report.sections import Bars, Chart, Curves, Points, Row, finite

COLORS = [f"var(--series-{number})" for number in range(1, 8)]  # of the page (page.css)
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [1, 0], [7, 3], [2, 2])
FONT = (
    "'Noto Sans KR', 'Noto Sans CJK KR', 'Apple SD Gothic Neo', 'Malgun Gothic', "
    "'NanumGothic', sans-serif"
)
Point = dict[str, Any]

# Vega's own expression interpreter (ast) does without eval, so the page can forbid it.
_DRAW = """
for (const figure of document.querySelectorAll("figure.chart")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  vegaEmbed(figure.querySelector("div"), spec, {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, logLevel: 1, defaultStyle: false,
    tooltip: {disableDefaultStyle: true},
  });
}
"""


@functools.cache
def script() -> str:
    """The JavaScript that draws every ``figure.chart`` of a page; it fetches nothing."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_DRAW)
    return bundle.replace("</script", "<\\/script")


def spec(chart: Chart) -> dict[str, Any]:
    """The Vega-Lite drawing of a chart, as wide as the page and in its colors.

    Those are CSS variables and ``currentColor``, so that light, dark and print need no redrawing.
    """
    import altair

    match chart:
        case Curves():
            drawing = _curves(chart)
        case Points():
            drawing = _dots(chart)
        case Bars():
            drawing = _bars(chart)
    with altair.data_transformers.enable("default", max_rows=None):
        drawn: dict[str, Any] = (
            drawing.properties(width="container", autosize={"type": "fit-x", "contains": "padding"})
            .configure(**_style())
            .to_dict()
        )
    return drawn


def _style() -> dict[str, Any]:
    ink = "currentColor"
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": "transparent",
        "font": FONT,
        "customFormatTypes": True,
        "view": {"stroke": None},
        "text": {"color": ink},
        "axis": text
        | {"gridColor": ink, "gridOpacity": 0.13, "domain": False, "ticks": False,
           "labelPadding": 6, "titlePadding": 10, "titleFontWeight": "normal",
           "labelLimit": 130, "labelOpacity": 0.8, "titleOpacity": 0.8},
        "legend": text | {"orient": "top", "title": None, "symbolStrokeWidth": 2.5,
                          "symbolSize": 260, "symbolType": "stroke", "labelLimit": 300, "columns": 3},
    }  # fmt: skip


def points(chart: Curves, limit: int = 1000) -> list[Point]:
    """What is drawn of a chart: finite points by series and ``x``, at most ``limit`` a series."""
    found: dict[str, list[Point]] = {}
    for row in chart.rows:
        x, y = row.get(chart.x), row.get(chart.y)
        if finite(x) and finite(y):
            name = str(row.get(chart.series, "")) if chart.series else ""
            found.setdefault(name, []).append({"x": float(x), "y": float(y), "series": name})
    lines = (thin(sorted(line, key=lambda p: p["x"]), limit) for line in found.values())
    return list(itertools.chain.from_iterable(lines))


def thin(line: Sequence[Point], limit: int) -> list[Point]:
    """Of a long line the ends and, in bins of equal count, the lowest and highest point.

    Peaks stay, and so do the points' order and their exact values; at most ``limit`` are left.
    """
    if len(line) <= limit:
        return list(line)
    bins = (limit - 2) // 2
    inner = range(1, len(line) - 1)
    keep = {0, len(line) - 1}
    for number in range(bins):
        members = inner[number * len(inner) // bins : (number + 1) * len(inner) // bins]
        keep |= {f(members, key=lambda i: line[i]["y"]) for f in (min, max)}
    return [line[i] for i in sorted(keep)]


def _curves(chart: Curves) -> Any:
    import altair as alt

    data = points(chart)
    names = list(dict.fromkeys(point["series"] for point in data))
    legend = alt.Legend() if len(names) > 1 else None

    def scale(values: Sequence[Any]) -> Any:
        return alt.Scale(domain=names, range=_repeat(values, len(names)))

    base = alt.Chart(alt.InlineData(values=data)).encode(
        x=_x_axis(chart, whole=all(point["x"].is_integer() for point in data)),
        y=alt.Y(
            "y:Q", title=_line(chart.y), axis=_axis(chart.y_format), scale=alt.Scale(zero=False)
        ),
        color=alt.Color("series:N", scale=scale(COLORS), legend=legend),
    )
    dash = alt.StrokeDash("series:N", scale=scale(DASHES), legend=legend)
    near = alt.selection_point(nearest=True, on="pointerover", fields=["x", "series"], empty=False)
    few = len(data) <= 30 * len(names)
    shown = alt.condition(near, alt.value(1), alt.value(0.9 if few else 0))
    dots = base.mark_circle(size=34).encode(opacity=shown, tooltip=_tips(chart))
    lines = base.mark_line(strokeWidth=2.2, strokeJoin="round").encode(strokeDash=dash)
    return alt.layer(lines, dots.add_params(near)).properties(height=280)


def _x_axis(chart: Curves, whole: bool) -> Any:
    import altair as alt

    if chart.x_log:
        axis = alt.Axis(grid=False, tickCount=6, format="~s")
        return alt.X(
            "x:Q", title=_line(chart.x), axis=axis, scale=alt.Scale(type="log", nice=False)
        )
    marks = {"format": ",d", "tickMinStep": 1} if whole else {}
    axis = alt.Axis.from_dict({"grid": False, "tickCount": 6, **marks})
    return alt.X("x:Q", title=_line(chart.x), axis=axis, scale=alt.Scale(nice=False))


def _axis(number_format: str, **more: Any) -> Any:
    """An axis without trailing zeros on its numbers."""
    import altair as alt

    trimmed = re.sub(r"(?<!~)([a-z%])$", r"~\1", number_format)
    return alt.Axis(format=trimmed or alt.Undefined, **more)


def _line(title: str) -> str:
    """A title that Vega can write into an expression: it escapes quotes there, but not ends of lines."""
    return " ".join(title.split())


def _tips(chart: Curves) -> list[Any]:
    import altair as alt

    # Without a format of its own, text is "undefined" in the tooltip of a nearest point (Vega-Lite 6).
    name = alt.Tooltip(
        "series:N", title=_line(chart.series or ""), format="", formatType="toString"
    )
    return [
        *([name] if chart.series else []),
        alt.Tooltip("x:Q", title=_line(chart.x)),
        alt.Tooltip("y:Q", title=_line(chart.y), format=chart.y_format or ".4g"),
    ]


def _dots(chart: Points, limit: int = 2000) -> Any:
    import altair as alt

    pairs = [
        (x, y) for r in chart.rows if finite(x := r.get(chart.x)) and finite(y := r.get(chart.y))
    ]
    step = -(-len(pairs) // limit)  # evenly: the page stays small
    data = [{"x": round(float(x), 4), "y": round(float(y), 4)} for x, y in pairs[::step]]
    return (
        alt.Chart(alt.InlineData(values=data))
        .mark_circle(size=22, color=COLORS[0], opacity=0.35)
        .encode(
            x=alt.X("x:Q", title=_line(chart.x), scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title=_line(chart.y), scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("x:Q", title=_line(chart.x)),
                alt.Tooltip("y:Q", title=_line(chart.y)),
            ],
        )
        .properties(height=280)
    )


def _bars(chart: Bars) -> Any:
    import altair as alt

    rows = [row for row in chart.rows if finite(row.get(chart.value))]
    data = [_bar(chart, number, row) for number, row in enumerate(rows)]
    columns = _columns(chart)
    lines = max(bar["key"].count("\n") for bar in data)
    names = alt.Axis(
        grid=False, labelExpr="slice(split(datum.label, '\\n'), 1)", labelLineHeight=14
    )
    base = alt.Chart(alt.InlineData(values=data)).encode(
        y=alt.Y("key:N", title=None, sort=None, axis=names),
        tooltip=[
            alt.Tooltip("label:N", title=_line(chart.label)),
            *(
                alt.Tooltip(f"{key}:Q", title=_line(title), format=chart.value_format)
                for key, title in columns
                if title
            ),
        ],
    )
    axis = _axis(chart.value_format, tickCount=5, grid=False)
    bars = base.mark_bar(color=COLORS[0], opacity=0.75, cornerRadiusEnd=3, height={"band": 0.66})
    whisker = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    ticks = whisker.mark_tick(thickness=2, size=10, color=COLORS[1], opacity=1)
    marks = base.transform_filter("isValid(datum.mark)").mark_tick(thickness=3, color=COLORS[1])
    values = base.mark_text(align="left", dx=6, fontSize=12)
    nothing = not any(bar[key] for bar in data for key, _ in columns if bar.get(key))
    scale = alt.Scale(domain=[0, 1]) if nothing else alt.Undefined
    return alt.layer(
        bars.encode(x=alt.X("value:Q", title=_line(chart.value), axis=axis, scale=scale)),
        whisker.mark_rule(strokeWidth=2, color=COLORS[1]).encode(x="low:Q", x2="high:Q"),
        ticks.encode(x="low:Q"),
        ticks.encode(x="high:Q"),
        marks.encode(x="mark:Q"),
        values.encode(x="end:Q", text=alt.Text("value:Q", format=chart.value_format)),
    ).properties(height=len(data) * (20 + 14 * lines))


def _bar(chart: Bars, number: int, row: Row) -> Point:
    label = str(row.get(chart.label, ""))
    wrapped = textwrap.wrap(label, 11 if HANGUL.search(label) else 20, max_lines=3) or [""]
    # The number keeps bars with the same label apart; the axis does not show it.
    bar: Point = {"key": "\n".join([str(number), *wrapped]), "label": label}
    for key, column in _columns(chart):
        value = row.get(column) if column else None
        bar[key] = float(value) if finite(value) else None
    bar["end"] = max(0.0, *(v for k in ("value", "high", "mark") if (v := bar[k]) is not None))
    return bar


def _columns(chart: Bars) -> tuple[tuple[str, str | None], ...]:
    """What each bar has: its name in the drawing, and its key."""
    return (
        ("value", chart.value),
        ("low", chart.low),
        ("high", chart.high),
        ("mark", chart.mark),
    )


def _repeat(values: Sequence[Any], count: int) -> list[Any]:
    return list(itertools.islice(itertools.cycle(values), count))
