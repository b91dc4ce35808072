"""Reading the project's Markdown: pages, tables, code blocks, links."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = frozenset({".venv", "tests", "report"})


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def name(self) -> str:
        """Relative to the root of the project."""
        return str(self.path.relative_to(ROOT))

    def blocks(self, *languages: str) -> Iterator[str]:
        """Fenced blocks of a language."""
        for language, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", self.text, flags=re.DOTALL | re.MULTILINE):
            if language in languages:
                yield body

    @property
    def prose(self) -> str:
        """Without fenced blocks."""
        return re.sub(r"^ *```.*?^ *```$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    def links(self) -> Iterator[str]:
        """Targets of links and pictures."""
        yield from re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def anchors(self) -> frozenset[str]:
        """Of its headings, as GitHub makes them."""
        titles = re.findall(r"^#+ (.+)$", self.prose, flags=re.MULTILINE)
        plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles)
        return frozenset(re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain)

    def commands(self) -> Iterator[str]:
        """What a reader would type: lines behind `$ ` in console blocks, continued lines joined."""
        for block in self.blocks("console"):
            joined = re.sub(r"\\\n\s*", " ", block)
            yield from re.findall(r"^\$ (.+)$", joined, flags=re.MULTILINE)

    def code(self) -> Iterator[str]:
        """Spans in backticks, in the prose."""
        yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", self.prose)

    def sections(self) -> Mapping[str, str]:
        """Text by heading of the second level."""
        parts = re.split(r"^## (.+)$", self.text, flags=re.MULTILINE)
        return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The rows of all tables in a text, without their heads."""
    found, is_body = [], False
    for line in text.splitlines():
        if re.fullmatch(r"\|[-|: ]+\|", line):
            is_body = True
        elif is_body and line.startswith("|"):
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        else:
            is_body = False
    return found


def words(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


PAGES = [
    Page(path)
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part in _LEFT_OUT or part.startswith(".") for part in path.relative_to(ROOT).parts)
]
"""Every page of the project that a reader may open."""
