"""Reports as tests read them: parsed, with something of every kind in them."""

import html.parser

from jeoni.report.page import Report
from jeoni.report.sections import (
    Bars,
    Confusion,
    Curves,
    Headline,
    KeyValues,
    Marked,
    MarkedText,
    Note,
    Passage,
    Passages,
    Points,
    Section,
    Table,
    Text,
    Texts,
)

NASTY = '</script><script>alert("1")</script><img src=x onerror=alert(1)>&amp;\u2028\u2029{{ 7*7 }}'
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(html.parser.HTMLParser):
    """Elements in order, with their text; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words: list[str] = []
        self.found.append((tag, dict(attrs), words))
        if tag not in VOID:
            self.open.append((tag, words))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, words in self.open:
            words.append(data)

    def texts(self, tag: str, name: str = "") -> list[str]:
        """Texts of the elements with this tag (and class)."""
        return [
            "".join(words)
            for found, attributes, words in self.found
            if found == tag and (not name or name in (attributes.get("class") or "").split())
        ]


def render(*sections: Section) -> Page:
    return Page(Report("Title", "Subtitle", sections).html())


def passage(context: str, gold: list[tuple[int, int]], predicted: tuple[int, int] | None) -> Page:
    item = Passage("Q?", context, gold, predicted, good=False)
    return render(Passages("Examples", [item]))


LOSSES = [{"step": i, "loss": 3.0 / (i + 1), "run": f"실행 {i % 2}"} for i in range(20)]
SCORES = [{"run": NASTY, "f1": 58.3, "lo": 54.0, "hi": 62.0}, {"run": "b", "f1": 8.0}]
EVERYTHING: list[Section] = [
    Headline({"F1": "58.3", NASTY: 1.5}),
    Note("About " + NASTY, f"first {NASTY}\n\nsecond"),
    Table("Scores", ["run", NASTY], [[NASTY, 1.25], ["b", None]], note=NASTY),
    Curves("Loss", [*LOSSES, {"step": 1, "loss": 2.0, "run": NASTY}], "step", "loss", "run"),
    Bars("F1", SCORES, "run", "f1", "lo", "hi"),
    Confusion("Confusion", ["긍정", NASTY], [[3, 1], [0, 5]]),
    Passages("Passages", [Passage(NASTY, NASTY * 9, [(3, 9)], (5, 12), True, NASTY)]),
    Points("Residuals", [{NASTY: 1.0, "y": 2.0}, {NASTY: float("nan"), "y": 1.0}], NASTY, "y"),
    Marked("Marked", [MarkedText(NASTY * 9, [(3, 9, NASTY)], [(5, 12, "b")], False)]),
    Texts("Texts", [Text(NASTY, NASTY, "b", False, 0.5), Text("글", "a", "a", True)]),
    KeyValues("Settings", {"model": {"name": NASTY, "sizes": [1, 2]}, "none": None}),
]
