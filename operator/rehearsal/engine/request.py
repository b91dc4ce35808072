"""One request inside the engine, from its arrival to its last token."""

import asyncio
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True)
class Asked:
    """What a client asked for."""

    prompt_tokens: int
    max_tokens: int
    temperature: float
    seed: int | None = None
    is_streamed: bool = False
    """Its client wants to hear of every step, not only of the end."""


@dataclass(slots=True, eq=False)
class Request:
    """What the batch knows of a request. Times are seconds of the event loop's clock."""

    asked: Asked
    random: Random
    """Draws its accepted tokens: the engine's, or its own when the request brought a seed."""
    arrived_at: float
    started_at: float = 0.0
    first_token_at: float = 0.0
    generated_tokens: int = 0
    draft_tokens: int = 0
    """Proposed for it."""
    accepted_tokens: int = 0
    """Of these."""
    reason: str = ""
    """Why it ended; empty while it runs."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def reserved_tokens(self) -> int:
        """Most it may take of the KV cache."""
        return self.asked.prompt_tokens + self.asked.max_tokens

    @property
    def used_tokens(self) -> int:
        """What it takes of the KV cache now."""
        return self.asked.prompt_tokens + self.generated_tokens

    def add(self, tokens: int) -> int:
        """Give it tokens, as many as it still may have; returns how many."""
        added = min(tokens, self.asked.max_tokens - self.generated_tokens)
        self.generated_tokens += added
        if self.asked.is_streamed:
            self._news.set()
        return added

    def end(self, reason: str) -> None:
        """It ended; whoever waits hears of it."""
        self.reason = reason
        self._news.set()

    async def news(self) -> str:
        """Wait for tokens, if it is streamed, or for the end; returns the reason of the end, empty before it."""
        await self._news.wait()
        self._news.clear()
        return self.reason
