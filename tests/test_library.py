"""Looked-up models: beside everything else, kept, and tried again when they were not found."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from builders import NOW

from specdecode.api.resource import Problem
from specdecode.engine.models import catalogue
from specdecode.library import Find, Found, Learned, Library
from specdecode.lookup.find import Sources, Wanted
from specdecode.store import Key

KEY, SECOND = ("serving", "chat"), ("serving", "search")
TARGET = Wanted("spec.model", "acme/chat-7b", "abc")
DRAFT = replace(TARGET, field="spec.speculation.draft")
FACTS = replace(catalogue()["meta-llama/Llama-3.1-8B-Instruct"], name="acme/chat-7b", source="hub")
MISSING = Problem("spec.model.name", "acme/chat-7b", "is not on the hub; write spec.model.facts")


class Shelf:
    """A library whose look-ups answer what they are told to, and what it enqueued."""

    def __init__(self, *answers: Found | Exception | None) -> None:
        self.answers, self.asked, self.enqueued = list(answers), 0, list[Key]()
        self.library = Library(self._find, self.enqueued.append)

    def _find(self, _: Wanted) -> Found | None:
        self.asked += 1
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, *, minutes: float = 0, wanted: Wanted = TARGET, key: Key = KEY) -> Learned:
        return self.library.ask(key, (wanted,), NOW + timedelta(minutes=minutes))

    async def answered(self) -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*self.library._tasks)


async def test_a_model_is_awaited_then_known_and_its_resource_is_visited_again() -> None:
    shelf = Shelf(FACTS)
    learned = shelf.ask()
    assert learned.models == {}
    assert "is being looked up" in str(learned.awaited[0])
    await shelf.answered()
    assert shelf.enqueued == [KEY]
    assert shelf.ask() == Learned({TARGET.key: FACTS})


async def test_what_was_found_is_never_asked_for_again() -> None:
    shelf = Shelf(FACTS)
    for minutes in (0, 1, 10_000):
        shelf.ask(minutes=minutes)
        await shelf.answered()
    assert shelf.asked == 1


async def test_resources_that_want_the_same_model_share_one_look_up() -> None:
    shelf = Shelf(FACTS)
    shelf.ask()
    shelf.ask(key=SECOND, wanted=DRAFT)
    await shelf.answered()
    assert shelf.asked == 1
    assert shelf.enqueued == [KEY, SECOND]


@pytest.mark.parametrize(
    ("failures", "wait_minutes"),
    [
        pytest.param(1, 5, id="five minutes after the first failure"),
        pytest.param(2, 10, id="then ten"),
        pytest.param(3, 20, id="then twenty"),
        pytest.param(7, 60, id="never longer than an hour"),
        pytest.param(400, 60, id="not after days either"),
    ],
)
async def test_what_was_not_found_is_tried_again(failures: int, wait_minutes: int) -> None:
    shelf = Shelf(MISSING)
    for failure in range(failures):
        shelf.ask(minutes=60 * failure)
        await shelf.answered()
    last = 60 * (failures - 1)
    assert shelf.ask(minutes=last + wait_minutes - 0.1) == Learned({TARGET.key: MISSING})
    assert shelf.asked == failures
    assert shelf.ask(minutes=last + wait_minutes) == Learned({TARGET.key: MISSING}), "the last answer stands meanwhile"
    await shelf.answered()
    assert shelf.asked == failures + 1


async def test_found_at_the_second_try() -> None:
    shelf = Shelf(MISSING, FACTS)
    shelf.ask()
    await shelf.answered()
    shelf.ask(minutes=5)
    await shelf.answered()
    assert shelf.ask(minutes=5).models == {TARGET.key: FACTS}
    assert shelf.enqueued == [KEY, KEY]


async def test_a_problem_names_the_field_of_who_asks() -> None:
    shelf = Shelf(MISSING)
    shelf.ask()
    await shelf.answered()
    found = shelf.ask(wanted=DRAFT).models[DRAFT.key]
    assert isinstance(found, Problem)
    assert found.field == "spec.speculation.draft.name"
    assert found.message.endswith("write spec.speculation.draft.facts")


async def test_a_model_that_no_allowed_source_could_have_is_left_to_the_plan() -> None:
    shelf = Shelf(None)
    shelf.ask()
    await shelf.answered()
    assert shelf.ask(minutes=600) == Learned()
    assert shelf.asked == 1


async def test_a_look_up_that_breaks_is_a_problem_and_tried_again() -> None:
    shelf = Shelf(ZeroDivisionError("bug"), FACTS)
    shelf.ask()
    await shelf.answered()
    assert "see the operator's log" in str(shelf.ask().models[TARGET.key])
    shelf.ask(minutes=5)
    await shelf.answered()
    assert shelf.ask().models == {TARGET.key: FACTS}


class Gate:
    """Look-ups that hang until they are let go, and how many were under way at once."""

    def __init__(self) -> None:
        self.opened, self.running, self.most = Event(), 0, 0

    def find(self, _: Wanted) -> Found:
        self.running += 1
        self.most = max(self.most, self.running)
        self.opened.wait(10)
        self.running -= 1
        return FACTS


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError


async def test_two_at_once_and_the_others_wait_their_turn() -> None:
    gate, enqueued = Gate(), list[Key]()
    library = Library(gate.find, enqueued.append)
    library.ask(KEY, [Wanted("spec.model", f"acme/m{n}") for n in range(5)], NOW)
    await _until(lambda: gate.running == 2)
    await asyncio.sleep(0.05)
    assert gate.running == 2
    gate.opened.set()
    await _until(lambda: len(enqueued) == 5)
    assert gate.most == 2


async def test_one_that_hangs_is_given_up_and_its_late_answer_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdecode.library.LONGEST_SECONDS", 0.02)
    gate, enqueued = Gate(), list[Key]()
    library = Library(gate.find, enqueued.append)
    library.ask(KEY, (TARGET,), NOW)
    await _until(lambda: enqueued == [KEY])
    assert "was not found within 0 s" in str(library.ask(KEY, (TARGET,), NOW).models[TARGET.key])
    gate.opened.set()
    await _until(lambda: gate.running == 0)
    await asyncio.sleep(0.01)
    assert isinstance(library.ask(KEY, (TARGET,), NOW).models[TARGET.key], Problem)


def test_the_process_can_end_while_a_look_up_hangs() -> None:
    gate = Gate()

    async def ask() -> None:
        Library(gate.find, lambda _: None).ask(KEY, (TARGET,), NOW)
        await _until(lambda: gate.running == 1)

    asyncio.run(ask())
    gate.opened.set()


@pytest.mark.parametrize(
    ("sources", "is_asked"),
    [
        pytest.param(Sources(), False, id="nothing is allowed: nothing is looked up"),
        pytest.param(Sources(is_hub_allowed=True), True, id="the hub"),
        pytest.param(Sources(models_directory=Path("/models")), True, id="a directory"),
    ],
)
async def test_only_what_is_allowed_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    sources: Sources,
    is_asked: bool,  # noqa: FBT001 - a column of the table
) -> None:
    monkeypatch.setattr("specdecode.library.look_up", lambda wanted, _: {one.key: FACTS for one in wanted})
    enqueued = list[Key]()
    library = Library.over(sources, enqueued.append)
    first: Find | None = library._find
    assert (first is not None) is is_asked
    learned = library.ask(KEY, (TARGET,), NOW)
    if not is_asked:
        assert learned == Learned()
        return
    await _until(lambda: enqueued == [KEY])
    assert library.ask(KEY, (TARGET,), NOW).models == {TARGET.key: FACTS}
