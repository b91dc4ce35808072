"""What is refused before memory is counted: each check names the field, the value, the limit and the way out.

Every check runs on every spec, so that a user sees all problems at once. Each stands for a failure of the engine that
would otherwise be found on a GPU node, minutes after the pod was scheduled.
"""

from collections.abc import Callable, Iterator

from specdecode.api.resource import Problem, Rejection
from specdecode.api.vocabulary import Fallback, Method
from specdecode.engine.flags import (
    REQUEST_STATISTICS_SINCE,
    built_in_head_problem,
    has_request_statistics,
    has_typical_acceptance,
    knows_draft_kv_cache_dtype,
    method_problem,
)
from specdecode.engine.models import ModelFacts
from specdecode.engine.parser import choice_problem, extra_argument_problem
from specdecode.engine.quantization import QUANTIZATIONS, Kind, checkpoint_problem, find, online_fp8
from specdecode.plan.prefill import takes_whole_prompts
from specdecode.plan.workload import Workload

Found = Iterator[Problem]


def _method(workload: Workload) -> Found:
    speculation = workload.spec.speculation
    if speculation is not None:
        problem = method_problem(workload.version, speculation.method)
        if problem is None and speculation.method is Method.MTP and speculation.draft is None:
            problem = built_in_head_problem(workload.version, workload.target.architecture)
        if problem is not None:
            yield problem


def _quantization_names(workload: Workload) -> Iterator[tuple[str, str, ModelFacts]]:
    """Field, name of the method, and the model it is applied to."""
    model, speculation = workload.spec.model, workload.spec.speculation
    if model.quantization is not None:
        yield "spec.model.quantization", model.quantization, workload.target
    draft = None if speculation is None else speculation.draft
    if draft is not None and draft.quantization is not None and workload.draft is not None:
        yield "spec.speculation.draft.quantization", draft.quantization, workload.draft


def _quantization(workload: Workload) -> Found:
    for field, name, facts in _quantization_names(workload):
        method = find(workload.version, name, field)
        if isinstance(method, Problem):
            yield method
            continue
        problem = checkpoint_problem(method, facts.quantization, field)
        if problem is not None:
            yield problem


def _fallback(workload: Workload) -> Found:
    speculation = workload.spec.speculation
    if speculation is None or speculation.draft is None or Fallback.DRAFT not in speculation.fallbacks:
        return
    method = QUANTIZATIONS.get(speculation.draft.quantization or "")
    is_stored = workload.draft is not None and workload.draft.quantization is not None
    if is_stored or (method is not None and method.kind is Kind.CHECKPOINT):
        yield Problem(
            "spec.speculation.fallbacks",
            Fallback.DRAFT,
            f"the checkpoint of {speculation.draft.name} is itself quantised, so the draft cannot be loaded without "
            "its quantisation; remove Draft, or name the 16-bit repository with method "
            f"{online_fp8(workload.version)}",
        )


def _vocabulary(workload: Workload) -> Found:
    speculation, draft = workload.spec.speculation, workload.draft
    if speculation is None or draft is None or speculation.method is not Method.DRAFT_MODEL:
        return
    if draft.vocab_size != workload.target.vocab_size:
        yield Problem(
            "spec.speculation.draft.name",
            draft.name,
            f"has a vocabulary of {draft.vocab_size} and the target one of {workload.target.vocab_size}; vLLM refuses "
            "a draft model that differs. Choose one of the same family (Qwen2.5 has 151936 up to 3B and 152064 from 7B "
            "on), or method ngram",
        )


def _own_target(workload: Workload) -> Found:
    """A head reads the target's hidden states and speaks its vocabulary; one of another model fails or is no use."""
    speculation, draft, target = workload.spec.speculation, workload.draft, workload.target
    if speculation is None or draft is None or speculation.draft is None or not draft.is_head:
        return
    if draft.vocab_size != target.vocab_size:
        yield Problem(
            "spec.speculation.draft.name",
            draft.name,
            f"is a head for a vocabulary of {draft.vocab_size} and the target has {target.vocab_size}: a head works "
            f"with the model it was trained for; choose one made for {target.name}, or method ngram",
        )


def _heads(workload: Workload) -> Found:
    gpus = workload.gpus
    for facts in (workload.target, workload.draft):
        if facts is None:
            continue
        if not facts.splits_over(gpus):
            yield Problem(
                "spec.accelerator.count",
                str(gpus),
                f"must divide the {facts.num_attention_heads} attention heads and match the "
                f"{facts.num_key_value_heads} KV heads of "
                f"{facts.name}; choose a power of two that does",
            )


def _context(workload: Workload) -> Found:
    limit, asked = workload.target.max_position_embeddings, workload.spec.engine.max_model_len
    if limit is not None and asked > limit:
        yield Problem(
            "spec.engine.maxModelLen",
            str(asked),
            f"the model was made for at most {limit} tokens and vLLM refuses more; set {limit} or less",
        )


def _batch(workload: Workload) -> Found:
    engine = workload.spec.engine
    if engine.max_num_batched_tokens < engine.max_num_seqs:
        yield Problem(
            "spec.engine.maxNumBatchedTokens",
            str(engine.max_num_batched_tokens),
            f"must be at least maxNumSeqs ({engine.max_num_seqs}): each running request takes one token per step; "
            "raise it or lower maxNumSeqs",
        )


def _prefill(workload: Workload) -> Found:
    spec, version = workload.spec, workload.version
    tokens, length = spec.engine.max_num_batched_tokens, spec.engine.max_model_len
    if tokens < length and takes_whole_prompts(spec, version, workload.gpu.compute_capability):
        yield Problem(
            "spec.engine.maxNumBatchedTokens",
            str(tokens),
            f"must be at least maxModelLen ({length}): the first engine generation, which vLLM {version} runs here, "
            "takes a prompt in one step; leave it out, raise it or lower maxModelLen",
        )


def _cache_dtypes(workload: Workload) -> Found:
    version, engine, speculation = workload.version, workload.spec.engine, workload.spec.speculation
    problem = choice_problem(version, "kv-cache-dtype", engine.kv_cache_dtype, "spec.engine.kvCacheDtype")
    if problem is not None:
        yield problem
    draft = None if speculation is None else speculation.draft
    if draft is not None and draft.kv_cache_dtype is not None and not knows_draft_kv_cache_dtype(version):
        yield Problem(
            "spec.speculation.draft.kvCacheDtype",
            draft.kv_cache_dtype,
            f"vLLM {version} stores the draft's cache as the target's, 0.26 is the first release with a type of its "
            "own; leave it out or use a newer engine",
        )


def _typical_acceptance(workload: Workload) -> Found:
    version, speculation = workload.version, workload.spec.speculation
    if speculation is None or speculation.typical_acceptance is None:
        return
    if not has_typical_acceptance(version, speculation.method):
        yield Problem(
            "spec.speculation.typicalAcceptance",
            speculation.typical_acceptance.posterior_threshold,
            f"vLLM {version} runs {speculation.method} without the typical-acceptance sampler: only the first engine "
            "generation has it, gone after 0.9.2; leave it out, today's sampling loses nothing",
        )


def _meter(workload: Workload) -> Found:
    version, spec = workload.version, workload.spec
    if spec.guard.meter and spec.speculation is not None and not has_request_statistics(version):
        yield Problem(
            "spec.guard.meter",
            "true",
            f"vLLM {version} does not say what a single request accepts; it needs {REQUEST_STATISTICS_SINCE} or newer: "
            "leave it out or use a newer engine",
        )


def _arguments(workload: Workload) -> Found:
    for argument in workload.spec.engine.extra_args:
        problem = extra_argument_problem(workload.version, argument)
        if problem is not None:
            yield problem


CHECKS: tuple[tuple[str, Callable[[Workload], Found]], ...] = (
    ("MethodNotInVersion", _method),
    ("QuantizationNotUsable", _quantization),
    ("FallbackWithoutEffect", _fallback),
    ("VocabularyMismatch", _vocabulary),
    ("VocabularyMismatch", _own_target),
    ("TensorParallelSizeInvalid", _heads),
    ("ContextTooLong", _context),
    ("BatchTooSmall", _batch),
    ("BatchTooSmall", _prefill),
    ("CacheTypeNotInVersion", _cache_dtypes),
    ("TypicalAcceptanceNotInVersion", _typical_acceptance),
    ("MeterNotInVersion", _meter),
    ("ArgumentUnknown", _arguments),
)
"""Reason and check; the first that finds something gives the rejection its reason."""


def refuse(workload: Workload) -> Rejection | None:
    """Everything that is wrong with a spec that could be looked up; None when nothing is."""
    found = [(reason, tuple(check(workload))) for reason, check in CHECKS]
    reasons = [reason for reason, problems in found if problems]
    if not reasons:
        return None
    return Rejection(reasons[0], tuple(problem for _, problems in found for problem in problems))
