"""What a sweep was asked for, understood: the grid and everything that makes two runs comparable. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from specdecode.api.resource import Problem
from specdecode.sweep.prompts import Api, Kind
from specdecode.sweep.types import Cell

MAX_TEMPERATURE = 2.0
MAX_CONCURRENCY = 1024
MAX_REQUESTS = 100_000
MAX_TOKENS = 131_072
MIN_TOKENS = 2
"""A time per output token needs two."""
MAX_SPECULATIVE_TOKENS = 64
MAX_SECONDS = 86_400.0

OFF = "Off"


def number_text(value: float) -> str:
    """Shortest form of a number: 0, 0.4, 1."""
    return f"{value:g}"


def read_numbers(option: str, text: str, lowest: float, highest: float) -> tuple[float, ...] | Problem:
    """Numbers between commas, each once, in their order."""
    limits = f"must be numbers from {number_text(lowest)} to {number_text(highest)}, with commas between them"
    found: dict[float, None] = {}
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            return Problem(option, text, f"{limits}; {part.strip() or 'nothing'} is none")
        if not lowest <= value <= highest:
            return Problem(option, text, f"{limits}; {part.strip()} is outside")
        found[value + 0.0] = None
    return tuple(found)


def read_whole_numbers(option: str, text: str, lowest: int, highest: int) -> tuple[int, ...] | Problem:
    """Whole numbers between commas, each once, in their order."""
    found = read_numbers(option, text, lowest, highest)
    if isinstance(found, Problem):
        return found
    broken = next((value for value in found if value != int(value)), None)
    if broken is not None:
        return Problem(option, text, f"must be whole numbers; {number_text(broken)} is none")
    return tuple(int(value) for value in found)


def check_range(option: str, value: float, lowest: float, highest: float) -> Problem | None:
    """Why one number is refused, if it is."""
    if math.isfinite(value) and lowest <= value <= highest:
        return None
    return Problem(option, number_text(value), f"must be from {number_text(lowest)} to {number_text(highest)}")


@dataclass(frozen=True)
class Grid:
    """What is asked at every endpoint, mode and number of tokens alike."""

    kinds: tuple[Kind, ...]
    temperatures: tuple[float, ...]
    concurrencies: tuple[int, ...]
    requests: int
    """Of each cell, after its warm-up."""
    max_tokens: int
    warm_up: int
    seed: int
    timeout_seconds: float
    api: Api = Api.CHAT

    def cells(self, mode: str, num_speculative_tokens: int) -> Iterator[Cell]:
        """Every point, in the order in which they are asked."""
        for kind in self.kinds:
            for temperature in self.temperatures:
                for concurrency in self.concurrencies:
                    yield Cell(mode, num_speculative_tokens, kind.name, temperature, concurrency)

    def kind(self, name: str) -> Kind:
        """The prompts of a kind."""
        return next(kind for kind in self.kinds if kind.name == name)

    @property
    def is_empty(self) -> bool:
        return not (self.kinds and self.temperatures and self.concurrencies)

    def asked(self) -> Mapping[str, str]:
        """By option, in words: what must be the same when a run goes on."""
        return {
            "kind": ",".join(f"{kind.name}:{kind.digest}" for kind in self.kinds),
            "temperature": ",".join(map(number_text, self.temperatures)),
            "concurrency": ",".join(map(str, self.concurrencies)),
            "requests": str(self.requests),
            "max-tokens": str(self.max_tokens),
            "warm-up": str(self.warm_up),
            "seed": str(self.seed),
            "timeout": number_text(self.timeout_seconds),
            "api": str(self.api),
        }


@dataclass(frozen=True)
class Amount:
    """How much is sent, at most."""

    requests: int
    output_tokens: int
    prompt_characters: int

    def __str__(self) -> str:
        return (
            f"{self.requests:,} requests with {self.prompt_characters:,} characters of prompts and at most "
            f"{self.output_tokens:,} output tokens"
        )


def amount_of(grid: Grid, cells: list[Cell]) -> Amount:
    """What asking these cells takes, warm-up included; nothing is ever sent twice."""
    each = grid.warm_up + grid.requests
    characters = 0
    for cell in cells:
        prompts = grid.kind(cell.kind).prompts
        characters += sum(prompts[number % len(prompts)].characters for number in range(-grid.warm_up, grid.requests))
    return Amount(len(cells) * each, len(cells) * each * grid.max_tokens, characters)


_SAME_ASKED = ("max-tokens", "seed", "api")
"""What a saved baseline must have in common with the run beside its kinds: the rest of the grid may differ."""


def _by_kind(asked: Mapping[str, str]) -> dict[str, str]:
    pairs = (entry.partition(":") for entry in asked.get("kind", "").split(",") if entry)
    return {name: digest for name, _, digest in pairs}


def comparable(field: str, name: str, saved: Mapping[str, str], grid: Grid) -> Problem | None:
    """Why a saved run is no baseline for this one, if it is none."""
    asked = grid.asked()
    for option in _SAME_ASKED:
        if saved.get(option) != asked[option]:
            message = f"was made with --{option} {saved.get(option)}, this run has {asked[option]}; make the two agree"
            return Problem(field, name, message)
    theirs, ours = _by_kind(saved), _by_kind(asked)
    if not theirs.keys() & ours.keys():
        return Problem(field, name, f"has the kinds {', '.join(theirs)}, and none of {', '.join(ours)}; measure one")
    other = next((kind for kind in ours if kind in theirs and theirs[kind] != ours[kind]), None)
    if other is not None:
        return Problem(field, name, f"asked other prompts of the kind {other}; measure the baseline again")
    return None
