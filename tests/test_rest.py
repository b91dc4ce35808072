"""Which deployment needs no close look: of all the ways of standing, the one in which nothing is going on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import measurement
from cli.stored import CASES, Life, healthy

from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.decide.facts import Measurement
from specdecode.engine.version import EngineVersion
from specdecode.judge import Seen, judge, prepare
from specdecode.manifests.build import Options
from specdecode.observe.cluster import child_of
from specdecode.observe.glance import Limit
from specdecode.observe.subject import subject_of
from specdecode.rest import may_doze, may_rest, sleeper_after, sleeper_of_status

LATER = timedelta(hours=2)


def old(case: Callable[[], Life]) -> Life:
    """The same, left alone for two hours."""
    life = case()
    life.now += LATER
    return life


def parsed(life: Life) -> SpecDecodeDeployment:
    found = parse(life.body)
    assert isinstance(found, SpecDecodeDeployment)
    return found


def dozes(life: Life) -> bool:
    resource = parsed(life)
    child = None if life.deployment is None else child_of(life.deployment, resource.metadata.uid)
    return may_doze(resource, child, life.now)


def rests(life: Life) -> bool:
    """Whether a visit that has measured nothing yet, as that of one at rest, finds nothing going on."""
    prepared = prepare(life.body, Options())
    life._run(prepared.objects, is_rolled_out=True)
    seen = Seen(life.body, life.deployment, (), True, Measurement(*UNMEASURED), None, None, 60)
    return may_rest(prepared, judge(prepared, seen, life.now), life.now)


UNMEASURED = (measurement().availability.NO_DATA, "nothing was measured yet")
CALM = {"healthy", "settling", "idle", "not-requested"}


@pytest.mark.parametrize("case", CASES)
def test_who_may_rest(case: str) -> None:
    assert rests(old(CASES[case])) is (case in CALM)


@pytest.mark.parametrize("case", CASES)
def test_who_may_doze_by_the_status_that_a_predecessor_left(case: str) -> None:
    assert dozes(old(CASES[case])) is (case in CALM)


def test_not_before_it_has_been_settled_for_an_hour() -> None:
    life = CASES["healthy"]()
    assert not rests(life)
    assert not dozes(life)


def test_a_deployment_of_somebody_else_or_of_another_spec_is_no_reason_to_rest() -> None:
    life = old(CASES["healthy"])
    resource = parsed(life)
    assert life.deployment is not None
    child = child_of(life.deployment, resource.metadata.uid)
    assert may_doze(resource, child, life.now)
    for stranger in (
        None,
        replace(child, is_ours=False),
        replace(child, ready_replicas=1),
        replace(child, spec_hash=""),
    ):
        assert not may_doze(resource, stranger, life.now)


def test_nothing_rests_that_was_never_planned() -> None:
    life = Life({"spec.model.name": "acme/unheard-of"})
    prepared = prepare(life.body, Options())
    seen = Seen(life.body, None, (), False, Measurement(*UNMEASURED), None, None, 60)
    assert not may_rest(prepared, judge(prepared, seen, life.now), life.now)
    assert not may_rest(None, judge(prepared, seen, life.now), life.now)


def test_what_is_remembered_is_what_was_measured() -> None:
    life = old(CASES["healthy"])
    resource, seen = parsed(life), healthy(life.mode)
    assert resource.status.plan is not None
    assert resource.status.plan.engine_version is not None
    subject = subject_of(resource, life.mode, EngineVersion.parse(resource.status.plan.engine_version))
    found = sleeper_after(resource, subject, seen)
    assert found is not None
    assert seen.slow is not None
    assert (found.mode, found.has_traffic, found.pods_up) == (life.mode, True, seen.pods_up)
    assert found.acceptance_length.reference == seen.slow.acceptance_length
    assert found.limits == (
        Limit("vllm:request_time_per_output_token_seconds", 0.05),
        Limit("vllm:time_to_first_token_seconds", 2.5),
    ), "40 ms and 2 s, as the engine's edges can tell"
    assert sleeper_after(resource, subject, measurement(fast=None, slow=None)) is None
    bare = replace(seen, slow=replace(seen.slow, tpot=None))
    without = sleeper_after(resource, subject, bare)
    assert without is not None
    assert without.tpot_seconds.reference != without.tpot_seconds.reference


def test_what_a_predecessor_measured_is_remembered_as_its_status_says_it() -> None:
    found = sleeper_of_status(parsed(old(CASES["healthy"])))
    assert found is not None
    assert found.has_traffic
    assert found.acceptance_length.reference == pytest.approx(4.75, abs=0.01)
    assert found.tpot_seconds.reference == pytest.approx(0.02, rel=0.2)
    quiet = old(CASES["healthy"])
    del quiet.status["observed"]
    silent = sleeper_of_status(parsed(quiet))
    assert silent is not None
    assert not silent.has_traffic
    assert sleeper_of_status(parsed(Life())) is None
    off = sleeper_of_status(parsed(old(CASES["not-requested"])))
    assert off is not None
    assert off.acceptance_length.reference != off.acceptance_length.reference


def test_a_limit_beyond_the_last_edge_cannot_be_asked_about() -> None:
    far = Life({"spec.guard": {"latency": {"e2eP99": "9000s"}}}).visit().settle()
    found = sleeper_of_status(parsed(far))
    assert found is not None
    assert found.limits == ()
