"""Who is at rest, and what wakes them up."""

import math
import random
from dataclasses import replace

import pytest

from specdecode.api.vocabulary import Method
from specdecode.dormitory import AWAKE, CALM_SECONDS, MOST_AWAKE, WAKES_PER_TICK, Dormitory, Sleeper
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.glance import Glance, Limit
from specdecode.store import Key

NAMES = metric_names(EngineVersion(0, 32, 0), Method.DRAFT_MODEL)
AT = 1_800_000_000.0
KEY = ("serving", "chat")
USUAL = Glance(acceptance_length=3.0, tpot_seconds=0.02, running_requests=8, pods_up=2, scraped_at=AT, over=0.0)
LIMIT = Limit("vllm:request_time_per_output_token_seconds", 0.05)


def sleeper(seen: Glance = USUAL, *, has_traffic: bool = True) -> Sleeper:
    return Sleeper("Draft", NAMES, seen, has_traffic=has_traffic, limits=(LIMIT,))


def dormitory(*keys: Key, seen: Glance = USUAL) -> Dormitory:
    found = Dormitory(max_age_seconds=45)
    for key in keys or (KEY,):
        found.lay_down(key, sleeper(seen))
    return found


def looked(found: Dormitory, glance: Glance | None, *, now: float = AT, awake: int = 0) -> tuple[Key, ...]:
    seen = {} if glance is None else {(*key, "Draft"): glance for key in found.at_rest()}
    return found.look(seen, now, awake=awake)


@pytest.mark.parametrize(
    ("glance", "wakes"),
    [
        pytest.param(USUAL, False, id="as it was"),
        pytest.param(replace(USUAL, acceptance_length=2.9), False, id="acceptance within its tolerance"),
        pytest.param(replace(USUAL, acceptance_length=2.8), True, id="acceptance fell"),
        pytest.param(replace(USUAL, acceptance_length=3.2), True, id="acceptance rose: status says another number"),
        pytest.param(replace(USUAL, acceptance_length=1.05), True, id="acceptance collapsed"),
        pytest.param(replace(USUAL, tpot_seconds=0.0215), False, id="latency within its tolerance"),
        pytest.param(replace(USUAL, tpot_seconds=0.0225), True, id="slower"),
        pytest.param(replace(USUAL, running_requests=9.5), False, id="a little more load"),
        pytest.param(replace(USUAL, running_requests=11), True, id="more load: speculation may no longer pay"),
        pytest.param(replace(USUAL, over=0.009), False, id="fewer than one in a hundred above the limit"),
        pytest.param(replace(USUAL, over=0.011), True, id="P99 above its limit"),
        pytest.param(replace(USUAL, pods_up=1), True, id="a pod does not answer"),
        pytest.param(replace(USUAL, scraped_at=AT - 46), True, id="stale"),
        pytest.param(replace(USUAL, scraped_at=AT + 46), True, id="clocks apart"),
        pytest.param(replace(USUAL, scraped_at=math.nan), True, id="no metrics of vLLM"),
        pytest.param(None, True, id="no series"),
        pytest.param(
            replace(USUAL, acceptance_length=math.nan, tpot_seconds=math.nan),
            False,
            id="nothing counted within the minute: no data is not bad data",
        ),
    ],
)
def test_what_wakes_one_up(glance: Glance | None, wakes: bool) -> None:  # noqa: FBT001 - a column of the table
    found = dormitory()
    assert looked(found, glance) == ((KEY,) if wakes else ())
    assert (KEY in found) is not wakes
    assert len(found) == (0 if wakes else 1)


def test_the_first_request_after_a_quiet_time_wakes_one_up() -> None:
    idle = Glance(running_requests=0, pods_up=2, scraped_at=AT)
    found = Dormitory(max_age_seconds=45)
    found.lay_down(KEY, sleeper(idle, has_traffic=False))
    assert looked(found, idle) == ()
    assert looked(found, replace(idle, running_requests=1)) == (KEY,)


def test_what_is_not_known_yet_is_what_the_first_glance_says() -> None:
    found = dormitory(seen=Glance(pods_up=math.nan))
    assert looked(found, USUAL) == ()
    assert looked(found, USUAL) == ()
    assert looked(found, replace(USUAL, pods_up=3)) == (KEY,)


def noisy(rng: random.Random, mean: float) -> Glance:
    return replace(USUAL, acceptance_length=rng.gauss(mean, 0.15))


def test_noise_that_was_seen_wakes_nobody_up_twice() -> None:
    """Ten thousand deployments whose glances scatter by 5 % must not wake up in turns."""
    rng, found, wakes = random.Random(1), dormitory(), 0
    for tick in range(2000):
        for key in looked(found, noisy(rng, 3.0)):
            wakes += tick > 40
            found.lay_down(key, sleeper())
    assert wakes <= 4


def test_a_slow_loss_below_the_noise_is_seen_all_the_same() -> None:
    rng, found = random.Random(2), dormitory()
    for _ in range(60):
        if looked(found, noisy(rng, 3.0)):
            found.lay_down(KEY, sleeper())
    ticks = next(tick for tick in range(400) if looked(found, noisy(rng, 3.0 - 0.002 * tick)))
    assert 20 < ticks < 200, "6 % and the noise of twenty glances, not 20 %"


def test_when_prometheus_does_not_answer_all_want_a_look_and_nobody_is_a_suspect() -> None:
    keys = [("serving", f"chat-{number}") for number in range(WAKES_PER_TICK + 20)]
    found = dormitory(*keys)
    woken = found.look(None, AT, awake=0)
    assert len(woken) == WAKES_PER_TICK
    assert found.suspects == frozenset()


def test_the_most_suspicious_come_first_and_the_others_are_suspects() -> None:
    keys = [("serving", f"chat-{number}") for number in range(8)]
    found = dormitory(*keys)
    glances = {(*key, "Draft"): replace(USUAL, tpot_seconds=0.03 + 0.001 * place) for place, key in enumerate(keys)}
    glances[*keys[2], "Draft"] = replace(USUAL, acceptance_length=1.0)
    woken = found.look(glances, AT, awake=MOST_AWAKE - 3)
    assert woken == (keys[2], keys[7], keys[6])
    assert found.suspects == frozenset(set(keys) - set(woken))
    assert found.look(glances, AT, awake=MOST_AWAKE + 7) == ()


def test_who_woke_up_stays_awake_for_a_while_and_lies_down_in_turn() -> None:
    found = dormitory(("n", "a"), ("n", "b"))
    found.wake(("n", "b"), AT)
    found.wake(("n", "a"), AT + 10)
    found.wake(("n", "stranger"), AT)
    awake = [("n", "never slept"), ("n", "a"), ("n", "b")]
    assert found.calm(awake, AT + 60) == [("n", "never slept")]
    assert found.calm(awake, AT + CALM_SECONDS) == [("n", "never slept"), ("n", "b")]
    assert found.calm(awake, AT + CALM_SECONDS + 10) == [("n", "never slept"), ("n", "b"), ("n", "a")]


def test_who_is_gone_is_forgotten() -> None:
    found = dormitory()
    found.forget(KEY)
    assert looked(found, None) == ()
    assert found.limits == frozenset()


def test_what_a_glance_must_ask_about_is_what_those_at_rest_have() -> None:
    found = dormitory(("n", "a"), ("n", "b"))
    found.lay_down(("n", "c"), Sleeper("Off", metric_names(EngineVersion(0, 32, 0)), USUAL, has_traffic=True))
    assert found.names == (NAMES, metric_names(EngineVersion(0, 32, 0)))
    assert found.limits == {LIMIT}
    found.wake(("n", "a"), AT)
    found.lay_down(("n", "a"), Sleeper("Off", NAMES, USUAL, has_traffic=True))
    assert found.at_rest() == [("n", "b"), ("n", "c"), ("n", "a")]
    assert found.generation(("n", "a")) == 0


def test_a_small_fleet_fits_beside_those_that_wake_up() -> None:
    assert AWAKE + WAKES_PER_TICK <= MOST_AWAKE
