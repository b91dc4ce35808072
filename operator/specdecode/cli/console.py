"""The terminal, which obeys what is written to it: only our own styles may reach it, never somebody else's escapes."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """`text` with a mark in place of each character that a terminal would obey; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _REPLACEMENT for each in text)


class Screen(Console):
    """rich's console for text that may be anybody's. rich itself lets ESC and CSI through."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Every piece of text passes here, on its way into a table as on its way out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
