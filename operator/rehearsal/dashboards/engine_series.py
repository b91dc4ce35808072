"""What the dashboard of one deployment asks of its engines.

The names are those of vLLM 0.11 and newer; older ones have no time per output token of a request.
"""

ENGINES = 'namespace="$namespace",specdecode_io_deployment="$deployment"'
MAIN = f'{ENGINES},specdecode_io_arm="main"'
CONTROL = f'{ENGINES},specdecode_io_arm="control"'

DRAFTS = "vllm:spec_decode_num_drafts_total"
PROPOSED = "vllm:spec_decode_num_draft_tokens_total"
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
PER_POSITION = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
TPOT = "vllm:request_time_per_output_token_seconds"
TTFT = "vllm:time_to_first_token_seconds"
METER = "specdecode:request_acceptance_rate"


def rate(metric: str, matchers: str = MAIN, by: str = "") -> str:
    """What a counter gains per second, summed."""
    return f"sum {f'by ({by}) ' if by else ''}(rate({metric}{{{matchers}}}[$window]))"


def ratio(above: str, below: str) -> str:
    """A share; nothing where there is nothing to divide by."""
    return f"{above} / ({below} > 0)"


def edge_of(histogram: str, quantile: float, *, is_upper: bool, matchers: str = MAIN) -> str:
    """An edge of the bucket that a quantile lies in.

    What reaches the quantile becomes a histogram of one observation in that bucket, whose own quantiles 0 and 1 are
    the edges. Without requests it is NaN: `> 0` leaves nothing to compare with.
    """
    count = f"sum(rate({histogram}_count{{{matchers}}}[$window])) > 0"
    reaches = f"{rate(f'{histogram}_bucket', matchers, 'le')} >= bool scalar({quantile:g} * ({count}))"
    return f"histogram_quantile({1 if is_upper else '1e-9'}, {reaches})"
