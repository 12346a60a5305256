"""The tags of a task: as data have them, as the model says them, and from the one to the other."""

from collections.abc import Sequence
from typing import Literal

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.tags import Scheme, bio_tags, invalid, kinds_of, of_entities, to_bio, to_bioes
from jeoni.metrics.entities import entities
from jeoni.tasks._projection import NONE, Ints, to_characters, to_tokens, to_words
from jeoni.tasks._tag_types import Sentence

IGNORED = -100
Wanted = Literal["auto", "BIO", "BIOES", "plain"]
UNKNOWN = "tags that the model does not know"


class TagSet:
    """Tags by name and number.

    Args:
        given: the tags of the data; of entities as BIO.
        scheme: ``BIO``, ``BIOES``, ``plain``, or ``auto`` (see ``TaggingConfig``).
        head: what a model says already, by number: kept if it is the same tags, in whatever order; or
            those given, though there be more in the scheme (published models lack some).

    Attributes:
        scheme: not ``auto`` any more.
        plain: whether tags are not of entities.
        names: what the model says, by number.

    Raises:
        UserError: a scheme for entities, and tags that are of none.
    """

    def __init__(
        self, given: Sequence[str], scheme: Wanted, head: Sequence[str] | None = None
    ) -> None:
        entity = of_entities(given)
        same = head is not None and list(head) == list(given)
        own: Scheme = ("BIOES" if same and _ends(given) else "BIO") if entity else "plain"
        self.scheme: Scheme = own if scheme == "auto" else scheme
        self.plain = self.scheme == "plain"
        if not self.plain and not entity:
            raise UserError(f"task.scheme={self.scheme}, but tags are {', '.join(given[:10])}, ...")
        self.given = list(given)
        self.kinds = kinds_of(given) if not self.plain else ()
        names = self.given if self.plain else list(bio_tags(self.kinds, self.scheme))
        kept = head is not None and (sorted(head) == sorted(names) or (same and self.scheme == own))
        self.names = list(head) if head is not None and kept else names
        self.numbers = {tag: number for number, tag in enumerate(self.names)}

    def gold(self, record: Record) -> list[str]:
        """The right tags by name, of entities as BIO; of plain ones, some may be none of the model's."""
        tags: list[str] = []
        for tag in record.fields["tags"]:
            known = isinstance(tag, int) and 0 <= tag < len(self.given)
            tags.append(self.given[tag] if known else str(tag))
        strange = [tag for tag in tags if not self._is_known(tag)]
        # Fine tags of a treebank (GSD's xpos): each part of it has some that the others have not.
        named = self.plain and all(isinstance(t, str) for t in record.fields["tags"])
        if strange and (not named or len(strange) == len(tags)):
            raise UserError(
                f"{record.where}: tag {strange[0]!r} is not one of the tags",
                hint=f"tags: {', '.join(self.given[:20])}{', ...' if len(self.given) > 20 else ''}",
            )
        return to_bio(tags) if self.kinds else tags

    def _is_known(self, tag: str) -> bool:
        if not self.kinds:
            return tag in self.numbers
        return tag == "O" or (of_entities((tag, "O")) and tag[2:] in self.kinds)

    def targets(self, gold: list[str], units: Ints) -> list[int]:
        """Numbers of the carriers' tags; ``IGNORED`` for one that the model does not know."""
        tags = to_tokens(gold, units)
        if self.scheme == "BIOES":
            tags = to_bioes(tags)
        return [self.numbers.get(tag, IGNORED) for tag in tags]

    def said(self, record: Record, sentence: Sentence, numbers: Ints) -> list[str]:
        """Tags of words or characters, of entities as BIO, from the numbers of the tokens' ``[T]``."""
        tags = [self.names[number] for number in numbers[sentence.units != NONE].tolist()]
        return self._units(record, sentence, to_bio(tags) if self.scheme == "BIOES" else tags)

    def _units(self, record: Record, sentence: Sentence, tags: Sequence[str]) -> list[str]:
        """Tags of words or characters from those of the carriers."""
        words = record.fields.get("tokens")
        if words is not None:
            return to_words(tags, sentence.units, len(words), self.given[0] if self.plain else "O")
        text = record.fields["text"]
        plain = self.given if self.plain else None
        return to_characters(tags, sentence.units, sentence.offsets, text, plain=plain)

    def notes(self, records: Sequence[Record], sentences: Sequence[Sentence]) -> dict[str, int]:
        """What tokens, or the model's tags, cannot say, counted."""
        notes = {"words without a token": 0}
        for record, sentence in zip(records, sentences, strict=True):
            words = record.fields.get("tokens")
            if words is not None or self.plain:
                name = f"{'characters' if words is None else 'words'} without a token"
                there = sentence.there(len(words or record.fields["text"]), words=words is not None)
                notes[name] = notes.get(name, 0) + there.count(False)
        gold = [s.gold for s in sentences if s.gold is not None]
        if self.plain and gold:
            notes[UNKNOWN] = sum(tag not in self.numbers for tags in gold for tag in tags)
        elif gold:
            named = [[t for t in r.fields["tags"] if isinstance(t, str)] for r in records]
            notes["tags that their scheme does not allow"] = sum(map(invalid, named))
            notes["entities whose borders are inside tokens"] = sum(
                map(self._lost, records, sentences)
            )
        return notes

    def _lost(self, record: Record, sentence: Sentence) -> int:
        """Entities that a model could not say even if it were always right."""
        gold = sentence.gold or []
        back = self._units(record, sentence, to_tokens(gold, sentence.units))
        return len(set(entities(gold)) - set(entities(back)))


def _ends(tags: Sequence[str]) -> bool:
    """Whether tags of entities are BIOES."""
    return any(tag.startswith(("E-", "S-")) for tag in tags)
