"""`python -m bench.scale.engines FILE PORT`: what the engines of a whole fleet expose, on a few pages.

A real Prometheus scrapes ten thousand pods one by one; here a page holds those of some hundred, with the labels that
service discovery would have given them, `up` included. What the operator asks and gets is the same.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from specdecode.api.vocabulary import Arm
from specdecode.observe.queries import ARM, DEPLOYMENT, INSTANCE, JOB, MODE, NAMESPACE

from .kinds import Converged
from .names import Member
from .traffic import Line

PAGE_MEMBERS = 250
PAST_PAGES = 2
"""Of these deployments Prometheus knows the past, as it would: a larger fleet is looked at closely only in part, and
for the others a minute is enough."""
PAST_STEP_SECONDS = 15.0
PAST_SECONDS = 420.0
"""The longest window of the kinds, and some more."""


def pages(count: int) -> int:
    """How many pages there are for so many deployments."""
    return -(-count // PAGE_MEMBERS)


@dataclass(frozen=True)
class Group:
    """Deployments that expose the same."""

    lines: tuple[Line, ...]
    owners: tuple[str, ...]
    """The labels of each pod as text."""

    def text(self, seconds: float, at: str = "") -> Iterator[str]:
        """Their part of a page; `at`: a moment of the past, in milliseconds with a blank before it."""
        for line in self.lines:
            labels = "".join(f'{label}="{value}",' for label, value in line.labels.items())
            head = f"{line.name}{{{labels}"
            tail = f"}} {line.at(seconds):.3f}{at}\n"
            yield f"{head}{(tail + head).join(self.owners)}{tail}"


def _owner(member: Member, mode: str) -> str:
    labels = {
        NAMESPACE: member.namespace,
        DEPLOYMENT: member.name,
        MODE: mode,
        ARM: Arm.MAIN.value,
        JOB: "vllm",
        INSTANCE: f"{member.address}:8000",
        "pod": member.pod,
        "engine": "0",
    }
    return ",".join(f'{label}="{value}"' for label, value in labels.items())


def grouped(fleet: Iterable[Member], kinds: Sequence[Converged]) -> list[Group]:
    """The groups of one page."""
    owners: dict[int, list[str]] = {}
    for member in fleet:
        owners.setdefault(member.kind, []).append(_owner(member, kinds[member.kind].mode.value))
    return [Group(kinds[kind].lines, tuple(of_kind)) for kind, of_kind in owners.items()]


def write(path: Path, fleet: Iterable[Member], kinds: Sequence[Converged], start: float) -> int:
    """What the server reads. Returns the number of series."""
    # As the operator lists them: those that it looks at closely are on the first pages.
    ordered = sorted(fleet, key=lambda member: member.key)
    parts = [grouped(ordered[begin : begin + PAGE_MEMBERS], kinds) for begin in range(0, len(ordered), PAGE_MEMBERS)]
    path.write_text(json.dumps({"start": start, "pages": [[asdict(group) for group in part] for part in parts]}))
    return sum(len(group.lines) * len(group.owners) for part in parts for group in part)


class Engines:
    """All pages. What one of the first pages says when it is first read is its past."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._pages = [
            [Group(tuple(Line(**line) for line in group["lines"]), tuple(group["owners"])) for group in page]
            for page in content["pages"]
        ]
        self._start = float(content["start"])
        self._with_past = set(range(min(PAST_PAGES, len(self._pages))))

    def page(self, number: int) -> bytes:
        """One page at this moment."""
        seconds = time.time() - self._start
        groups = self._pages[number]
        if number in self._with_past:
            self._with_past.discard(number)
            return "".join(self._past(groups, seconds)).encode()
        return "".join(part for group in groups for part in group.text(seconds)).encode()

    def _past(self, groups: Iterable[Group], seconds: float) -> Iterator[str]:
        for back in range(int(PAST_SECONDS / PAST_STEP_SECONDS), 0, -1):
            moment = seconds - back * PAST_STEP_SECONDS
            for group in groups:
                yield from group.text(moment, f" {round(1000 * (self._start + moment))}")


def application(engines: Engines) -> web.Application:
    """Serves `/page/<number>`."""

    async def page(request: web.Request) -> web.Response:
        body = engines.page(int(request.match_info["number"]))
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/page/{number}", page)])
    return app


if __name__ == "__main__":
    web.run_app(
        application(Engines(json.loads(Path(sys.argv[1]).read_text()))),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        print=None,
        access_log=None,
    )
