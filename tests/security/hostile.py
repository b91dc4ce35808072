"""Text that somebody wrote to break out of where it belongs, and what must not be left of it."""

import unicodedata
from typing import Final

from hypothesis import strategies as st

HOSTILE: Final = (
    "",
    " ",
    '"',
    "'",
    "`id`",
    "$(id)",
    "$(HF_TOKEN)",
    "$$(HF_TOKEN)",
    "${HF_TOKEN}",
    "; rm -rf / #",
    "a && b | c > d",
    "--trust-remote-code",
    "-c",
    "x --host=1.2.3.4",
    "x=y --api-key=z",
    '","method":"ngram',
    '"}],"model":"evil/model"}',
    "{{ .Values.x }}",
    "{% if x %}",
    "{0.__class__}",
    "{message}",
    "%s%n%d",
    "%(message)s",
    "\\",
    "\\u0022",
    "\\n",
    "a\nb",
    "a\r\nb: c",
    "a\n---\nkind: Secret",
    "a\x00b",
    "a\tb",
    "\x07\x08\x7f",
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link",
    "\x9b31m",
    "\x85next",
    "a\u2028b\u2029c",
    "\u202edetsurt",
    "\u2066x\u2069",
    "\u200bzero\ufeff",
    "\ud800",
    "é\u0301ü",
    "\U0001f600",
    "!!python/object/apply:os.system [id]",
    "&a [*a]",
    "*x",
    "? x",
    "yes",
    "null",
    "~",
    "0x1F",
    "1e999",
    "1:30",
    "2026-11-22",
    "[bold red]x[/]",
    "[link=http://evil]x[/link]",
    '{job=~".+"}',
    '"} or vector(1) or up{a="',
    "a|.*",
    "../../etc/passwd",
    "/models/../etc",
    "/models/--x",
    "http://evil.example/",
    "user:password@host",
    "a" * 10_000,
    "a-" * 5_000 + "!",
    "9" * 5_000,
)
"""One of each way out."""

_PIECES = st.sampled_from([piece for piece in HOSTILE if 0 < len(piece) < 100])


def hostile_text() -> st.SearchStrategy[str]:
    """One of the list, or some of it around ordinary text, or anything at all."""
    mixed = st.lists(_PIECES | st.text(max_size=8), min_size=1, max_size=4).map("".join)
    return st.sampled_from(HOSTILE) | mixed | st.text(max_size=40)


def unsafe_in_a_line(text: str) -> list[str]:
    """The characters of a line that move a terminal's cursor, end the line elsewhere or turn it round."""
    return [character for character in text if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
