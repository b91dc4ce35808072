"""How prompts are taken: the first engine generation takes one whole, unless it cuts long ones or is told to."""

from collections.abc import Iterator

from specdecode.api.accelerators import Capability
from specdecode.api.spec import EngineSpec, SpecDecodeDeploymentSpec
from specdecode.api.vocabulary import Fallback, Method
from specdecode.engine.profiling import is_v0
from specdecode.engine.version import EngineVersion

_CHUNKED_BEYOND_TOKENS = 32_768
"""Context above which the first engine generation cuts prompts by itself (`EngineArgs._set_default_args_v0`)."""

_DEFAULT_BATCHED_TOKENS: int = EngineSpec.model_fields["max_num_batched_tokens"].default


def _methods(spec: SpecDecodeDeploymentSpec) -> Iterator[Method | None]:
    """Methods of the modes that may run; None is plain vLLM."""
    yield None
    if spec.speculation is not None:
        yield spec.speculation.method
        if Fallback.NGRAM in spec.speculation.fallbacks:
            yield Method.NGRAM


def takes_whole_prompts(spec: SpecDecodeDeploymentSpec, version: EngineVersion, capability: Capability) -> bool:
    """Whether some mode refuses a batch that is smaller than the longest prompt."""
    if any(argument.name == "enable-chunked-prefill" for argument in spec.engine.extra_args):
        return False
    old = [method for method in _methods(spec) if is_v0(version, method, capability)]
    cuts_by_itself = old == [None] and spec.engine.max_model_len > _CHUNKED_BEYOND_TOKENS
    return bool(old) and not cuts_by_itself


def with_room_for_prompts(
    spec: SpecDecodeDeploymentSpec, version: EngineVersion, capability: Capability
) -> SpecDecodeDeploymentSpec:
    """The spec with the batch that such an engine takes by default, where the user left it at ours."""
    engine = spec.engine
    is_default = engine.max_num_batched_tokens == _DEFAULT_BATCHED_TOKENS
    if not is_default or engine.max_model_len <= _DEFAULT_BATCHED_TOKENS:
        return spec
    if not takes_whole_prompts(spec, version, capability):
        return spec
    raised = engine.model_copy(update={"max_num_batched_tokens": engine.max_model_len})
    return spec.model_copy(update={"engine": raised})
