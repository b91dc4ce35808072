"""Foreign words in a message: one line, nothing that a terminal obeys, and no longer than they are worth. Pure.

Names of fields, keys of a YAML file, answers of servers and the last words of an engine were written by somebody else,
and end in conditions, Events, log lines and on terminals.
"""

from collections.abc import Iterable

_TELLING = 8
"""Characters of a secret that show which one it is."""
_READ = 8
"""Times the limit: so much is looked at, whatever the length."""


def one_line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` printable characters. Blanks in a row, and what cannot be printed (line
    breaks, escapes, marks that turn the direction round), become one blank.
    """
    head = text[: limit * _READ]
    line = " ".join("".join(character if character.isprintable() else " " for character in head).split())
    is_whole = len(line) <= limit and len(head) == len(text)
    return line if is_whole or not line else f"{line[: limit - 1]}…"


def plain(text: str, limit: int) -> str:
    """`text` as it is where it can be printed and is short enough; else `one_line` of it."""
    return text if len(text) <= limit and text.isprintable() else one_line(text, limit)


def visible(text: str) -> str:
    """`text` on one line, with Python's escapes for what cannot be printed: nothing of it is lost."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def escaped_json(text: str) -> str:
    """JSON that says the same, with an escape for what cannot be printed but is allowed in it; line breaks stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _escape(each) for each in text)


def _escape(character: str) -> str:
    pairs = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pairs[place : place + 2].hex()}" for place in range(0, len(pairs), 2))


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with stars in place of each of the secrets, and of one that was cut off with the end of the text."""
    for secret in secrets:
        text = text.replace(secret, "***")
        place = _begun(text.removesuffix("…"), secret)
        text = text if place is None else f"{text[:place]}***"
    return text


def _begun(text: str, secret: str) -> int | None:
    """Where `text` ends with the beginning of a secret."""
    most = min(len(text), len(secret))
    sizes = (size for size in range(most, _TELLING - 1, -1) if text.endswith(secret[:size]))
    return next((len(text) - size for size in sizes), None)
