"""A change as people read it: what matters most first, that is whether pods restart and whether it runs at all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from specdecode.cli.cluster.difference import Change
from specdecode.cli.cluster.screen import labelled
from specdecode.cli.cluster.view import wire
from specdecode.cli.side_by_side import Difference
from specdecode.cli.tables import gib
from specdecode.plan.titles import title


def _value(value: object) -> str:
    return "-" if value is None else "true" if value is True else "false" if value is False else str(value)


def _table(differences: Iterable[tuple[str, str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, before, after in differences:
        table.add_row(name, Text(before, style="red"), "->", Text(after, style="green"))
    return table


def _plain(differences: Sequence[Difference]) -> Table:
    return _table((each.name, _value(each.left), _value(each.right)) for each in differences)


def _size(each: Difference, value: object) -> str:
    if not isinstance(value, (int, float)):
        return "-"
    return f"{value:.0f}" if each.name == "kvCacheTokens" else f"{gib(value)} GiB"


def _memory(differences: Sequence[Difference]) -> Table:
    return _table(
        (
            "tokens in the KV cache" if each.name == "kvCacheTokens" else title(each.name),
            _size(each, each.left),
            _size(each, each.right),
        )
        for each in differences
    )


def _mode(change: Change) -> Text:
    before, after = change.modes
    same = before is after
    return Text(f"{after} {'as now' if same else f'instead of {before}' if before else 'starts'}: {change.why_mode}")


def _pods(change: Change) -> RenderableType:
    if change.service is None:
        return Text("none restarts")
    if not change.pods:
        return Group(Text("all restart: what runs is of a spec before the stored one"), Text(change.service.sentence))
    paths = sorted({each.name.removeprefix("template.") for each in change.pods})
    shown = ", ".join(paths[:6]) + (", …" if len(paths) > 6 else "")
    hashes = f"pod template {change.template_hashes[0]} -> {change.template_hashes[1]}"
    return Group(Text(f"all restart: {shown} ({hashes})"), Text(change.service.sentence))


def _consequences(change: Change) -> Iterator[tuple[str, RenderableType]]:
    if change.refusal is not None:
        yield "refused", Text(f"{change.refusal.reason}: {change.refusal}", style="bold red")
    yield "mode", _mode(change)
    if change.refusal is None and not change.is_new:
        yield "pods", _pods(change)
    if change.rearmed:
        yield "rollback", Text(change.rearmed)


def _details(change: Change) -> Iterator[tuple[str, RenderableType]]:
    for label, differences in (("spec", change.fields), ("flags", change.flags)):
        if differences:
            yield label, _plain(differences)
    if change.memory:
        yield "per GPU", _memory(change.memory)
    if change.scale[0] != change.scale[1] and not change.is_new:
        yield "scale", Text(f"{_value(change.scale[0])} -> {_value(change.scale[1])} replicas")


def sheet(change: Change) -> RenderableType:
    """For people."""
    name = Text(f"{change.namespace}/{change.name}", style="bold")
    if change.is_new:
        name.append(": is not in the cluster and would be created", style="not bold")
    elif not change.is_any:
        return name.append(": no difference", style="not bold")
    return Group(name, labelled((*_consequences(change), *_details(change))))


def document(change: Change) -> dict[str, Any]:
    """For scripts."""
    refusal = None if change.refusal is None else {"reason": change.refusal.reason, "message": str(change.refusal)}
    service = None if change.service is None else asdict(change.service) | {"sentence": change.service.sentence}
    values = asdict(change) | {"refusal": refusal, "service": service, "is_any": change.is_any}
    document: dict[str, Any] = wire(values)
    return document
