"""What is to go wrong, and for which requests: values that the proxy looks up for every request.

Which requests of a series are met is decided by counting and by a seeded generator, so that a run can be repeated.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True)
class Request:
    """One request, as the rules see it."""

    verb: str
    """The method of HTTP."""
    path: str
    """Without the query."""
    is_watch: bool = False

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES


@dataclass(frozen=True)
class Write:
    """One request that may have changed something, and what was answered upstream."""

    verb: str
    path: str
    status: int
    at: float
    """Of the event loop's clock."""


@dataclass(frozen=True)
class Delay:
    """Wait before the request is passed on."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """Wait until the rule is released, then pass it on."""


@dataclass(frozen=True)
class Drop:
    """Never pass it on, never answer."""


@dataclass(frozen=True)
class Reset:
    """Cut the connection: before the request is passed on, or instead of the answer to it."""

    is_done: bool = False
    """Whether upstream gets the request."""


@dataclass(frozen=True)
class Answer:
    """Answer it without asking upstream, as the API server would."""

    status: int
    retry_after_seconds: int | None = None
    body: bytes | None = None
    """Instead of a Status object."""


@dataclass(frozen=True)
class Gone:
    """Tell a watch, also one that already runs, that its resource version is too old, and end it."""

    status: int = 410
    """Another one: what an API server says into its watches when it breaks down."""


@dataclass(frozen=True)
class Freeze:
    """Keep back what a watch has to say, also one that already runs, until the rule is released; nothing is lost."""


@dataclass(frozen=True)
class Replay:
    """Send the request upstream twice; the second answer counts. As after a retry of a lost answer."""


@dataclass(frozen=True)
class Tell:
    """Call somebody about the n-th match, when upstream has done it: here is the place to kill a process.

    Before the delivery of the answer the connection is cut afterwards: who asked never learns what came of it.
    """

    call: Callable[[int, Request], Awaitable[None] | None]
    is_delivered: bool = False


Action = Delay | Hold | Drop | Reset | Answer | Gone | Freeze | Replay | Tell
STREAM_ACTIONS = (Gone, Freeze)


@dataclass(eq=False)
class Rule:
    """An action and the requests that it meets. A rule counts, so it belongs to one proxy."""

    action: Action
    verbs: frozenset[str] = frozenset()
    """Empty: every one."""
    path: str = ""
    """A regular expression that is searched for in the path."""
    is_watch: bool | None = None
    nth: int | None = None
    """Only this one of the requests that fit, counted from 1."""
    times: int | None = None
    """At most so often."""
    probability: float = 1.0
    fitted: int = 0
    """Requests so far that fit by verb, path and kind."""
    met: int = 0
    """Those of them that the action met."""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def fits(self, request: Request) -> bool:
        """By verb, path and kind; it counts nothing."""
        return (
            (not self.verbs or request.verb in self.verbs)
            and (self.is_watch is None or self.is_watch == request.is_watch)
            and (request.is_watch or not isinstance(self.action, STREAM_ACTIONS))
            and re.search(self.path, request.path) is not None
        )

    def meets(self, request: Request, chance: random.Random) -> bool:
        """Whether the action is to be taken for this request, which is counted."""
        if not self.fits(request):
            return False
        self.fitted += 1
        is_it = (
            (self.nth is None or self.fitted == self.nth)
            and (self.times is None or self.met < self.times)
            and (self.probability >= 1.0 or chance.random() < self.probability)
        )
        self.met += is_it
        return is_it

    def release(self) -> None:
        """Let go of what is held or frozen, now and later."""
        self.released.set()
