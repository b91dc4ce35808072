"""Advice on the engine: its version, what is pinned, and what every pod fetches. Rules speak and change nothing."""

from specdecode.api.values import is_commit
from specdecode.api.vocabulary import Method, Mode
from specdecode.engine import version as versions
from specdecode.engine.flags import (
    knows_kv_cache_memory_bytes,
    needs_eagle_name,
    takes_speculative_config,
    trusts_remote_code,
)
from specdecode.plan.review import Review, Said, gb
from specdecode.plan.types import Advice


def version_unknown(review: Review) -> Said:
    stated = review.workload.stated_version
    if not versions.is_newer_than_known(stated):
        return None
    return Advice(
        "EngineVersionUnknown",
        f"vLLM {stated} is newer than the newest known one ({versions.NEWEST_KNOWN}) and is planned as that one: flags "
        "and metric names may have changed; upgrade the operator, or try it with guard.action Recommend",
    )


def remote_code(review: Review) -> Said:
    version = review.workload.version
    if not trusts_remote_code(version):
        return None
    return Advice(
        "TrustRemoteCodeCve",
        f"vLLM {version} runs code from a model repository even without --trust-remote-code (CVE-2025-66448, "
        "CVE-2026-22807, CVE-2026-27893); use 0.18 or newer, or only repositories you own",
    )


def typical_acceptance(review: Review) -> Said:
    speculation = review.speculation
    if speculation is None or speculation.typical_acceptance is None:
        return None
    return Advice(
        "TypicalAcceptanceIsLossy",
        "typicalAcceptance accepts tokens that the target would not have said: answers change, and the acceptance rate "
        "no longer says how alike draft and target are. It was removed after vLLM 0.9.2, so the gain does not carry "
        "over; compare the answers, or leave it out",
    )


def draft_revision_not_passed(review: Review) -> Said:
    speculation, version = review.speculation, review.workload.version
    draft = None if speculation is None else speculation.draft
    if draft is None or draft.revision is None or takes_speculative_config(version):
        return None
    return Advice(
        "DraftRevisionNotPassed",
        f"vLLM {version} has no argument for the draft's revision (0.8.3 and newer) and loads the default branch of "
        f"{draft.name}; use a path below the cache mount to pin it",
    )


def eagle_head_by_name(review: Review) -> Said:
    speculation, version = review.speculation, review.workload.version
    draft = None if speculation is None or speculation.method is not Method.EAGLE else speculation.draft
    if draft is None or not needs_eagle_name(version) or "eagle-" in draft.name.lower():
        return None
    return Advice(
        "EagleHeadNotRecognised",
        f"vLLM {version} knows an EAGLE head by model_type eagle in its config.json, from 0.7.3 on also by 'eagle-' in "
        f"its name, and takes any other for a draft model: check {draft.name}, or use 0.8.5 or newer",
    )


def pin_unsupported(review: Review) -> Said:
    version = review.workload.version
    if not review.spec.engine.pin_kv_cache or knows_kv_cache_memory_bytes(version):
        return None
    return Advice(
        "PinKvCacheUnsupported",
        f"vLLM {version} has no --kv-cache-memory-bytes (0.10.2 and newer): pinKvCache has no effect",
    )


def _is_pinned(name: str, revision: str | None) -> bool:
    return name.startswith("/") or is_commit(revision)


def revision_not_pinned(review: Review) -> Said:
    model, speculation = review.spec.model, review.speculation
    draft = None if speculation is None else speculation.draft
    fields = [] if _is_pinned(model.name, model.revision) else ["model.revision"]
    if draft is not None and not _is_pinned(draft.name, draft.revision):
        fields.append("speculation.draft.revision")
    if not fields:
        return None
    return Advice(
        "RevisionNotPinned",
        f"not pinned to a commit: {' and '.join(fields)}. A branch that moves changes the model under the same spec, "
        "and acceptance with it; set the 40 digits",
    )


def cache_claim_missing(review: Review) -> Said:
    if review.spec.cache is not None:
        return None
    return Advice(
        "CacheClaimMissing",
        f"cache.claimName is not set: every pod downloads {gb(review.requested.load_bytes)} at each start, and each "
        "change of mode is a start",
    )


def suffix_package(review: Review) -> Said:
    speculation = review.speculation
    if speculation is None or speculation.method is not Method.SUFFIX:
        return None
    return Advice(
        "SuffixNeedsPackage",
        "method suffix needs the package arctic-inference, which vLLM's image does not hold: use an image with it",
    )


def draft_context(review: Review) -> Said:
    draft, asked = review.draft, review.spec.engine.max_model_len
    limit = None if draft is None else draft.max_position_embeddings
    if draft is None or limit is None or limit >= asked or review.requested.mode is Mode.OFF:
        return None
    return Advice(
        "DraftContextShorter",
        f"{draft.name} was made for {limit} tokens and maxModelLen is {asked}: requests beyond {limit} are proposed "
        "badly or fail (vllm-project/vllm#48894); lower maxModelLen or choose another draft",
    )
