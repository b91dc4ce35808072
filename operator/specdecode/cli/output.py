"""Writing YAML: block style, keys in their own order, and never an anchor where two objects share a value."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def yaml_text(documents: Iterable[Mapping[str, Any]]) -> str:
    """One or more documents, separated by `---`."""
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
