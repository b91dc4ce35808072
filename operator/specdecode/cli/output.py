"""Writing YAML: block style, keys in their own order, and never an anchor where two objects share a value."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def yaml_text(documents: Iterable[Mapping[str, Any]]) -> str:
    """One or more documents, separated by `---`. What a terminal would not show as it is, is escaped."""
    found = tuple(documents)
    text = _dumped(found, allow_unicode=True)
    # PyYAML writes NEL and LINE SEPARATOR as they are, and reads them back as line breaks.
    return text if text.replace("\n", "").isprintable() else _dumped(found, allow_unicode=False)


def _dumped(documents: Iterable[Mapping[str, Any]], *, allow_unicode: bool) -> str:
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=allow_unicode)
