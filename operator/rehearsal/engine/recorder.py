"""What the engine counts, and when: the meaning of vLLM's metric families.

It is told of steps and of requests that end, and adds up. Times are seconds of one monotonic clock.
"""

from rehearsal.engine.metrics import EngineMetrics, Number
from rehearsal.engine.request import Request


class SpeculationRecorder:
    """The `vllm:spec_decode_*` counters."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self._drafts = metrics.number("vllm:spec_decode_num_drafts")
        self._draft_tokens = metrics.number("vllm:spec_decode_num_draft_tokens")
        self._accepted_tokens = metrics.number("vllm:spec_decode_num_accepted_tokens")
        self._per_position: list[Number] = metrics.numbers("vllm:spec_decode_num_accepted_tokens_per_pos")

    def step(self, proposed: int, accepted: list[int]) -> None:
        """A step in which `proposed` tokens were proposed for each of the requests in `accepted`."""
        self._drafts.value += len(accepted)
        self._draft_tokens.value += proposed * len(accepted)
        self._accepted_tokens.value += sum(accepted)
        for position in range(proposed):
            self._per_position[position].value += sum(count > position for count in accepted)


class Recorder:
    """Every other family that the simulated engine moves; those it does not move stay at 0."""

    def __init__(self, metrics: EngineMetrics, *, counts_prefix_queries: bool) -> None:
        self._metrics = metrics
        self._counts_prefix_queries = counts_prefix_queries
        number, histogram = metrics.number, metrics.histogram
        self._running = number("vllm:num_requests_running")
        self._waiting = number("vllm:num_requests_waiting")
        self._waiting_for_capacity = number("vllm:num_requests_waiting_by_reason", "capacity")
        self._kv_cache_usage = number("vllm:kv_cache_usage_perc")
        self._prompt_tokens = number("vllm:prompt_tokens")
        self._computed_prompt_tokens = number("vllm:prompt_tokens_by_source", "local_compute")
        self._prefix_queries = number("vllm:prefix_cache_queries")
        self._generation_tokens = number("vllm:generation_tokens")
        self._iteration_tokens = histogram("vllm:iteration_tokens_total")
        self._inter_token_latency = histogram("vllm:inter_token_latency_seconds")
        self._time_to_first_token = histogram("vllm:time_to_first_token_seconds")

    def load(self, running: int, waiting: int, kv_cache_usage: float) -> None:
        """What is in the engine now; usage is a share, whatever the metric's name says."""
        self._running.value = running
        self._waiting.value = waiting
        self._waiting_for_capacity.value = waiting
        self._kv_cache_usage.value = kv_cache_usage

    def step(self, prompt_tokens: int, generated_tokens: int) -> None:
        """A step ended."""
        self._prompt_tokens.value += prompt_tokens
        self._computed_prompt_tokens.value += prompt_tokens
        if self._counts_prefix_queries:
            self._prefix_queries.value += prompt_tokens
        self._generation_tokens.value += generated_tokens
        self._iteration_tokens.observe(prompt_tokens + generated_tokens)

    def decoded(self, interval_seconds: float, requests: int) -> None:
        """So many requests got tokens, that long after the tokens before: per engine step, not per token."""
        self._inter_token_latency.observe(interval_seconds, requests)

    def first_token(self, request: Request) -> None:
        """A request got its first token."""
        self._time_to_first_token.observe(request.first_token_at - request.arrived_at)

    def finished(self, request: Request, reason: str, now: float) -> None:
        """A request was answered to its end: `stop` or `length`. vLLM counts no other end, whatever its labels say."""
        self._metrics.number("vllm:request_success", reason).value += 1
        decode_seconds = now - request.first_token_at
        further_tokens = request.generated_tokens - 1
        values = {
            "e2e_request_latency_seconds": now - request.arrived_at,
            "request_queue_time_seconds": request.started_at - request.arrived_at,
            "request_inference_time_seconds": now - request.started_at,
            "request_prefill_time_seconds": request.first_token_at - request.started_at,
            "request_decode_time_seconds": decode_seconds,
            "request_time_per_output_token_seconds": decode_seconds / further_tokens if further_tokens else 0.0,
            "request_prompt_tokens": request.asked.prompt_tokens,
            "request_prefill_kv_computed_tokens": request.asked.prompt_tokens,
            "request_generation_tokens": request.generated_tokens,
            "request_max_num_generation_tokens": request.generated_tokens,
            "request_params_max_tokens": request.asked.max_tokens,
            "request_params_n": 1,
            "request_num_preemptions": 0,
        }
        for name, value in values.items():
            self._metrics.histogram(f"vllm:{name}").observe(value)
