"""The report: one HTML file that needs no network, no server and no other file."""

import base64
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jeoni.base.files import write_text
from jeoni.report import markup, plots
from jeoni.report.sections import Section

if TYPE_CHECKING:
    import jinja2

_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Report:
    """A page of sections.

    Args:
        title: heading of the page.
        subtitle: a line under it.
        sections: what to show, in this order (see ``sections.py``). The page's own words are English; texts
            are shown as given, and those with Hangul are marked as Korean.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page. Its policy forbids every fetch, and every script but the charts'."""
        charts = any(section.kind == "chart" and not section.empty for section in self.sections)
        script = plots.script() if charts else ""
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        text: str = _template().render(
            report=self,
            words=markup.WORDS,
            style=(_HERE / "page.css").read_text(encoding="utf-8"),
            script=script,
            script_source=f"'sha256-{digest}'" if charts else "'none'",
            lang_of=_lang_of,
        )
        # Half a surrogate pair (a text cut in the middle of an emoji) cannot be written as UTF-8.
        return text.encode("utf-8", "replace").decode("utf-8")

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all, and give back its path."""
        write_text(path, self.html())
        return path


@functools.cache
def _template() -> "jinja2.Template":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": True}
    tools: dict[str, Any] = {
        "cell": markup.cell,
        "clipped": markup.clipped,
        "flatten": markup.flatten,
        "named": markup.named,
        "numeric": markup.numeric,
        "paragraphs": markup.paragraphs,
        "pieces": markup.pieces,
        "shortened": markup.shortened,
        "spec": plots.spec,
    }
    environment.globals.update(tools)
    return environment.get_template("page.html")


def _lang_of(text: str) -> str:
    """The language of a text: Korean if there is Hangul in it, else that of the page."""
    return "ko" if markup.HANGUL.search(text) else "en"
