"""What of an engine's last words is the cause."""

import pytest

from specdecode.engine.last_words import cause_of

PYDANTIC = """Traceback (most recent call last):
  File "vllm/engine/arg_utils.py", line 1, in create_model_config
pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig
  Value error, Speculative tokens must be positive [type=value_error, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.12/v/value_error"""

CORE = """(EngineCore pid=77) ERROR 11-23 03:41:26 [core.py:900] Traceback (most recent call last):
(EngineCore pid=77) ERROR 11-23 03:41:26 [core.py:900]     raise ValueError(
(EngineCore pid=77) ERROR 11-23 03:41:26 [core.py:900] ValueError: No available memory for the cache blocks.
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)     raise RuntimeError(
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param(CORE, "ValueError: No available memory for the cache blocks.", id="the core, not who reports it"),
        pytest.param(
            PYDANTIC,
            "1 validation error for SpeculativeConfig Value error, Speculative tokens must be positive",
            id="what pydantic objects to, without its link",
        ),
        pytest.param(
            "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --nonsense",
            "api_server.py: error: unrecognized arguments: --nonsense",
            id="what argparse objects to",
        ),
        pytest.param(
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.\n[rank0]: Terminated",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.",
            id="the error, not what came after it",
        ),
        pytest.param("KeyError: 1\nValueError: two", "ValueError: two", id="of several the last"),
        pytest.param("Killed", None, id="no line names an error"),
        pytest.param("", None, id="nothing"),
        pytest.param(
            "RuntimeError: Engine core initialization failed. See root cause above.",
            None,
            id="only the pointer is left",
        ),
    ],
)
def test_the_cause(text: str, cause: str | None) -> None:
    assert cause_of(text) == cause
