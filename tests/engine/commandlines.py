"""The fixed table of specs whose command lines are written down for each release."""

from typing import Any

from builders import ABSENT, resource

from specdecode.api.spec import SpecDecodeDeploymentSpec
from specdecode.api.vocabulary import Method, Mode
from specdecode.engine.arguments import command_line
from specdecode.engine.flags import (
    built_in_head_problem,
    has_typical_acceptance,
    knows_draft_kv_cache_dtype,
    method_problem,
)
from specdecode.engine.quantization import find, online_fp8
from specdecode.engine.version import EngineVersion
from specdecode.plan.ladder import speculation_of

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
SMALL_LLAMA = "meta-llama/Llama-3.2-1B-Instruct"
MIMO = "XiaomiMiMo/MiMo-7B-RL"
REVISION = "0e9e39f249a16976918f6564b8830bc894c89659"


def _with(method: str, **rest: Any) -> dict[str, Any]:
    return {"spec.speculation": {"method": method, "numSpeculativeTokens": 3, **rest}}


SMALL = {"name": SMALL_LLAMA}
SPECS: dict[str, dict[str, Any]] = {
    "off": {"spec.speculation": ABSENT},
    "off, revision, quantisation, eager, pinned": {
        "spec.speculation": ABSENT,
        "spec.model": {"name": LLAMA, "revision": REVISION, "quantization": "bitsandbytes", "servedName": "llama"},
        "spec.engine.enforceEager": True,
        "spec.engine.pinKvCache": True,
        "spec.engine.kvCacheDtype": "fp8",
    },
    "ngram": _with("ngram"),
    "ngram, maxBatchSize 1": _with("ngram", maxBatchSize=1),
    "ngram_gpu": _with("ngram_gpu"),
    "suffix": _with("suffix"),
    "draft_model": _with("draft_model", draft=SMALL | {"revision": REVISION}),
    "draft_model, quantised": _with("draft_model", draft=SMALL | {"quantization": "online"}),
    "draft_model, maxBatchSize 16": _with("draft_model", draft=SMALL, maxBatchSize=16),
    "draft_model, typical acceptance": _with("draft_model", draft=SMALL, typicalAcceptance={}),
    "draft_model, FP8 draft cache": _with("draft_model", draft=SMALL | {"kvCacheDtype": "fp8"}),
    "eagle": _with("eagle", draft={"name": "yuhuili/EAGLE-LLaMA3.1-Instruct-8B"}),
    "eagle3, maxBatchSize 16": _with("eagle3", draft={"name": "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"}, maxBatchSize=16),
    "medusa": _with("medusa", draft={"name": "me/llama-medusa"}),
    "mlp_speculator": _with("mlp_speculator", draft={"name": "ibm-ai-platform/llama3-8b-accelerator"}),
    "mtp": _with("mtp") | {"spec.model": {"name": MIMO}},
    "dflash": _with("dflash", draft={"name": "z-lab/LLaMA3.1-8B-Instruct-DFlash"}),
    "dspark": _with("dspark"),
}


def spec_for(version: EngineVersion, name: str) -> SpecDecodeDeploymentSpec:
    """A spec of the table on the image of a release."""
    overrides = {"spec.model": {"name": LLAMA}, "spec.engine.image": f"vllm/vllm-openai:v{version}"} | SPECS[name]
    spec = resource(**overrides).spec
    speculation = spec.speculation
    if speculation is None or speculation.draft is None or speculation.draft.quantization != "online":
        return spec
    draft = speculation.draft.model_copy(update={"quantization": online_fp8(version)})
    return spec.model_copy(update={"speculation": speculation.model_copy(update={"draft": draft})})


def refusal(version: EngineVersion, spec: SpecDecodeDeploymentSpec) -> str | None:
    """Why a release does not take a spec of the table, by what the engine's tables say."""
    speculation = spec.speculation
    if spec.model.quantization is not None:
        found = find(version, spec.model.quantization, "spec.model.quantization")
        if not hasattr(found, "bits"):
            return str(found)
    if speculation is None:
        return None
    problem = method_problem(version, speculation.method)
    if problem is None and speculation.method is Method.MTP:
        problem = built_in_head_problem(version, "MiMoForCausalLM")
    if problem is not None:
        return str(problem)
    if speculation.typical_acceptance is not None and not has_typical_acceptance(version, speculation.method):
        return "no typical acceptance"
    if speculation.draft is not None and speculation.draft.kv_cache_dtype and not knows_draft_kv_cache_dtype(version):
        return "no type of its own for the draft's cache"
    return None


def rendered(version: EngineVersion, spec: SpecDecodeDeploymentSpec) -> tuple[str, ...]:
    """The command line of the requested mode."""
    return command_line(spec, version, speculation_of(spec, Mode.QUANTIZED_DRAFT), pinned_bytes=20 * 1024**3)
