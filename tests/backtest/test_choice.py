"""Which series are the resource's, and whether they are those of its engine."""

from typing import Any

import pytest
from builders import resource

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Method
from specdecode.backtest.choice import Choice, Wanted, choose, no_engine, wrong_version
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.queries import series_of

OURS = "specdecode_io_deployment"
LLAMA = {"namespace": "serving", OURS: "llama-70b"}
OTHER = {"namespace": "serving", OURS: "other"}
FAR = {"namespace": "far", OURS: "llama-70b"}
MODEL = "meta-llama/Llama-3.1-70B-Instruct"


@pytest.mark.parametrize(
    ("wanted", "series", "choice"),
    [
        pytest.param({}, [LLAMA], Choice("llama-70b", "serving"), id="one deployment"),
        pytest.param({}, [OTHER], Choice("other", "serving"), id="one deployment of another name"),
        pytest.param({}, [LLAMA, OTHER], Choice("llama-70b", "serving"), id="several, one is the resource's"),
        pytest.param({"deployment": "other"}, [LLAMA, OTHER], Choice("other", "serving"), id="one is chosen"),
        pytest.param({}, [LLAMA, FAR], Choice("llama-70b", "serving"), id="two of the name, one in its namespace"),
        pytest.param({"namespace": "far"}, [LLAMA, FAR], Choice("llama-70b", "far"), id="a namespace is chosen"),
        pytest.param({}, [{"model_name": "a"}, {}][:1], Choice(), id="no labels of ours"),
        pytest.param(
            {}, [{"model_name": "a"}, {"model_name": MODEL}], Choice(model=MODEL), id="no labels, the model tells"
        ),
        pytest.param({"namespace": "serving"}, [{"namespace": "serving"}], Choice(namespace="serving"), id="only that"),
    ],
)
def test_the_choice(wanted: dict[str, str], series: list[dict[str, str]], choice: Choice) -> None:
    assert choose(Wanted(resource(), **wanted), series) == choice


@pytest.mark.parametrize(
    ("wanted", "series", "sentence"),
    [
        pytest.param({}, [OTHER, {**OTHER, OURS: "third"}], "covers serving/other, serving/third", id="several"),
        pytest.param({"deployment": "x"}, [LLAMA], "is not in this history, which covers serving/llama-70b", id="none"),
        pytest.param(
            {}, [FAR, {**FAR, "namespace": "away"}], "--namespace: is needed", id="two namespaces, none is its own"
        ),
        pytest.param({"namespace": "x"}, [LLAMA], "there are some in serving", id="an empty namespace"),
        pytest.param({"deployment": "x"}, [{}], "labelmap, regex", id="a name, and no labels: the line to add"),
        pytest.param({}, [{"model_name": "a"}, {"model_name": "b"}], "the series are of a, b", id="two models"),
    ],
)
def test_no_choice(wanted: dict[str, str], series: list[dict[str, str]], sentence: str) -> None:
    found = choose(Wanted(resource(), **wanted), series)
    assert isinstance(found, Problem)
    assert sentence in str(found)


def test_many_names_are_cut() -> None:
    series = [{**OTHER, OURS: f"name-{number}"} for number in range(10)]
    assert "and 2 more" in str(choose(Wanted(resource()), series))


def test_a_choice_covers_what_carries_its_labels() -> None:
    choice = Choice("llama-70b", "serving")
    assert choice.covers({**LLAMA, "pod": "a"})
    assert not choice.covers(OTHER)
    assert not choice.covers({OURS: "llama-70b"})


def names_of(version: str, method: Method | None = None) -> frozenset[str]:
    return frozenset(series_of(metric_names(EngineVersion.parse(version), method)).values())


@pytest.mark.parametrize(
    ("spec", "engine", "sentence"),
    [
        pytest.param("0.32.0", "0.32.0", None, id="the same"),
        pytest.param("0.32.0", "0.10.2", "of vLLM from 0.10.2 on and before 0.11.0", id="an older engine"),
        pytest.param("0.10.2", "0.32.0", "of vLLM from 0.11.0 on:", id="a newer engine"),
        pytest.param(
            "0.32.0", "0.8.5", "vllm:gpu_cache_usage_perc instead of vllm:kv_cache_usage_perc", id="much older"
        ),
        pytest.param("0.9.2", "0.8.5", None, id="versions that only differ in counters of speculation"),
    ],
)
def test_metrics_of_another_version(spec: str, engine: str, sentence: str | None) -> None:
    found = wrong_version(metric_names(EngineVersion.parse(spec)), spec, names_of(engine))
    assert (found is None) == (sentence is None)
    assert sentence is None or sentence in str(found)


def test_metrics_of_no_version() -> None:
    names = metric_names(EngineVersion.parse("0.32.0"))
    seen = {"vllm:time_per_output_token_seconds_sum", "vllm:time_per_output_token_seconds_count"}
    assert "of no version that is known here" in str(wrong_version(names, "0.32.0", seen))


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        pytest.param({"vllm:num_requests_running"}, None, id="an engine"),
        pytest.param({"up"}, "no series of vLLM", id="none"),
        pytest.param({"vllm:prompt_tokens_total"}, "only vllm:prompt_tokens_total", id="a part"),
    ],
)
def test_no_engine_at_all(seen: set[str], sentence: Any) -> None:
    found = no_engine(metric_names(EngineVersion.parse("0.32.0")), seen, "--openmetrics", "x.om")
    assert (found is None) == (sentence is None)
    assert sentence is None or sentence in str(found)
