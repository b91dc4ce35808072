"""Reading a start-up log: every line once, each pattern where its anchor is, then one value out of all of them.

Order does not matter, except that a second start in the same text replaces the first. It never raises: text that is no
log of vLLM is a Problem.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from specdecode.api.accelerators import GIB
from specdecode.api.resource import Problem
from specdecode.engine.startup_log.arguments import read_arguments, read_configuration
from specdecode.engine.startup_log.patterns import FAILURES, LAST_RESORT, PATTERNS
from specdecode.engine.startup_log.values import CompileCache, LoggedSpeculation, StartupLog

MAX_LOG_CHARACTERS = 50 * 1024**2
"""A day of requests is in no start-up log; beyond this a file is refused."""

_MAX_LINE_CHARACTERS = 65_536
"""The longest line of interest is the configuration, some 10,000 characters."""

_MAX_FAILURE_CHARACTERS = 400

_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_PROCESS = re.compile(r"\((?P<name>[A-Za-z]\w{0,60}(?: rank=[0-9]{1,5})?)(?P<pid> pid=[0-9]{1,10})?[^()]{0,60}\)")
_SERVER = "APIServer"

_ROUNDING_BYTES = int(0.005 * GIB)
"""Sizes are printed in GiB with two decimals."""


@dataclass
class _Found:
    """What one start has printed so far: texts by quantity, with the process that printed each."""

    texts: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, str] = field(default_factory=dict)
    """Of the configuration; what it leaves out comes from the arguments."""
    arguments: dict[str, str] = field(default_factory=dict)
    configured: LoggedSpeculation | None = None
    argued: LoggedSpeculation | None = None
    has_configuration: bool = False
    engines: set[str] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)


def _process(line: str) -> str:
    """Who printed a line. A worker's number tells it from the others; before 0.8 only its process id does."""
    found = _PROCESS.search(line, 0, 200)
    if found is None:
        return ""
    is_numbered = any(character.isdigit() for character in found["name"])
    return found["name"] if is_numbered or found["pid"] is None else found["name"] + found["pid"]


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\r", "\n").split("\n"):
        if line and not line.isspace():
            yield _ESCAPES.sub("", line[:_MAX_LINE_CHARACTERS])


def _is_new_start(found: _Found, line: str, process: str) -> bool:
    """Whether the same process begins again. Engines of one server that run side by side have names of their own."""
    if "API server version" in line:
        return bool(found.texts or found.engines)
    if "LLM engine (v" not in line:
        return False
    name = process.partition(" pid=")[0]
    is_known = name in found.engines
    found.engines.add(name)
    return is_known


def _note_failure(found: _Found, line: str) -> None:
    for rank, pattern in enumerate((*FAILURES, LAST_RESORT)):
        if pattern.anchor not in line:
            continue
        match = pattern.regex.search(line)
        if match is not None:
            found.failures[rank] = line[match.start() : match.start() + _MAX_FAILURE_CHARACTERS].strip()
            _note(found, _process(line), match)


def _note(found: _Found, process: str, match: re.Match[str]) -> None:
    for name, value in match.groupdict().items():
        if value is not None:
            found.texts[name].append((process, value))


def _note_configuration(found: _Found, line: str) -> None:
    configuration = read_configuration(line) if "with config: " in line else None
    if configuration is not None:
        found.values, found.configured = configuration
        found.has_configuration = True
    arguments = read_arguments(line) if "args: " in line else None
    if arguments is not None:
        found.arguments, found.argued = arguments


def _collect(lines: Iterable[str]) -> _Found:
    found = _Found()
    for line in lines:
        process = _process(line)
        if _is_new_start(found, line, process):
            kept = found.arguments, found.argued
            found = _Found(engines={process.partition(" pid=")[0]})
            if "API server version" not in line:
                found.arguments, found.argued = kept
        for pattern in PATTERNS:
            if pattern.anchor in line:
                match = pattern.regex.search(line)
                if match is not None:
                    _note(found, process, match)
        _note_failure(found, line)
        _note_configuration(found, line)
    return found


def _bytes(gib: str) -> int:
    return round(float(gib) * GIB)


@dataclass(frozen=True)
class _Reader:
    """Picks one value of each quantity."""

    texts: Mapping[str, list[tuple[str, str]]]

    def sizes(self, *names: str) -> list[int]:
        return [_bytes(text) for name in names for _, text in self.texts.get(name, ())]

    def largest(self, *names: str) -> int | None:
        return max(self.sizes(*names), default=None)

    def smallest(self, *names: str) -> int | None:
        return min(self.sizes(*names), default=None)

    def text(self, *names: str) -> str | None:
        """The last text of the first quantity that was printed."""
        return next((self.texts[name][-1][1] for name in names if self.texts.get(name)), None)

    def count(self, name: str) -> int | None:
        text = self.text(name)
        return None if text is None else int(text.replace(",", ""))

    def number(self, name: str) -> float | None:
        text = self.text(name)
        return None if text is None else float(text)

    @property
    def ranks(self) -> int:
        """Processes that printed how much they loaded, or have left."""
        printed = (self.texts.get(name, ()) for name in ("loaded_gib", "kv_cache_gib", "pinned_gib"))
        return len({process for texts in printed for process, _ in texts if not process.startswith(_SERVER)})


def _weights_bytes(reader: _Reader, *, has_own_draft_line: bool) -> int | None:
    """What one rank loaded, of the rank that loaded most. V0 prints target and draft one after the other."""
    loaded = reader.largest("loaded_gib", "profiled_weights_gib")
    if loaded is None or not has_own_draft_line:
        return loaded
    by_process: dict[str, dict[str, int]] = defaultdict(dict)
    for process, text in reader.texts.get("loaded_gib", ()):
        by_process[process][text] = _bytes(text)
    return max((sum(sizes.values()) for sizes in by_process.values()), default=loaded)


def _activation_peak_bytes(reader: _Reader) -> int | None:
    peak, loaded = reader.largest("torch_peak_gib"), reader.largest("loaded_gib")
    if peak is not None and loaded is not None:
        return peak - loaded  # 0.6.4 and 0.6.5 print the peak of everything that PyTorch holds
    return reader.largest("activation_gib")


def _graph_estimate_bytes(reader: _Reader) -> int | None:
    """As printed, or from the utilisation that vLLM calls equivalent: a share of the card."""
    printed = reader.largest("graph_estimate_gib")
    total, share, equivalent = (
        reader.smallest("total_gib"),
        reader.number("utilization"),
        reader.number("equivalent_utilization"),
    )
    if printed is not None or total is None or share is None or equivalent is None:
        return printed
    return round(total * (share - equivalent))


def _compile_cache(reader: _Reader) -> CompileCache | None:
    if reader.text("compiled") is not None:
        return CompileCache.COLD
    return None if reader.text("reused") is None else CompileCache.WARM


def _is_v0(reader: _Reader) -> bool | None:
    if reader.text("engine") is not None:
        return reader.text("generation") != "V1 "
    if reader.text("profiled_weights_gib", "torch_peak_gib") is not None:
        return True
    return None if reader.text("kv_cache_gib", "tokens") is None else False


def _switch(text: str | None) -> bool | None:
    return None if text is None else text == "True"


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def _configuration(found: _Found) -> StartupLog:
    """What the engine was asked to do. Its own configuration is believed before the arguments."""
    values = found.arguments | found.values
    speculation = found.argued or found.configured
    return StartupLog(
        model=values.get("model") or values.get("model_tag"),
        revision=values.get("revision"),
        device="CPU" if values.get("device_config") == "cpu" else None,
        dtype=(values.get("dtype") or "").removeprefix("torch.") or None,
        quantization=values.get("quantization"),
        kv_cache_dtype=values.get("kv_cache_dtype"),
        tensor_parallel_size=_whole(values.get("tensor_parallel_size")),
        pipeline_parallel_size=_whole(values.get("pipeline_parallel_size")),
        max_model_len=_whole(values.get("max_seq_len")) or _whole(values.get("max_model_len")),
        max_num_seqs=_whole(values.get("max_num_seqs")),
        max_num_batched_tokens=_whole(values.get("max_num_batched_tokens")),
        enforce_eager=_switch(values.get("enforce_eager")),
        utilization=values.get("gpu_memory_utilization"),
        block_size=_whole(values.get("block_size")),
        has_configuration=found.has_configuration,
        speculation=speculation,
    )


def _memory(reader: _Reader, configuration: StartupLog) -> StartupLog:
    is_v0 = _is_v0(reader)
    speculation = configuration.speculation
    return replace(
        configuration,
        is_v0=is_v0,
        ranks=reader.ranks,
        weights_bytes=_weights_bytes(
            reader, has_own_draft_line=is_v0 is True and speculation is not None and speculation.model is not None
        ),
        total_bytes=reader.smallest("total_gib"),
        free_at_start_bytes=reader.smallest("free_gib"),
        requested_bytes=reader.smallest("requested_gib"),
        consumed_bytes=reader.largest("consumed_gib"),
        activation_peak_bytes=_activation_peak_bytes(reader),
        non_torch_bytes=reader.largest("non_torch_gib"),
        graph_bytes=reader.largest("graphs_gib"),
        graph_estimate_bytes=_graph_estimate_bytes(reader),
        is_graph_estimate_applied={"enabled": True, "disabled": False}.get(reader.text("graph_profiling") or ""),
    )


def _kv_cache_bytes(reader: _Reader, pinned: int | None) -> tuple[int | None, bool]:
    """The size on the rank that has least, and whether it is rounded. Only some ranks print it in bytes."""
    if pinned is not None:
        return pinned, False
    printed, exact = reader.smallest("pinned_gib", "kv_cache_gib"), reader.count("kv_cache_bytes")
    if exact is not None and (printed is None or abs(printed - exact) <= _ROUNDING_BYTES):
        return exact, False
    return printed, printed is not None


def _kv_cache(reader: _Reader, log: StartupLog, found: _Found) -> StartupLog:
    size, is_rounded = _kv_cache_bytes(reader, _whole(found.arguments.get("kv_cache_memory_bytes")))
    return replace(
        log,
        kv_cache_bytes=size,
        kv_cache_rounding_bytes=_ROUNDING_BYTES if is_rounded else 0,
        is_kv_cache_pinned=reader.text("pinned_gib") is not None or "kv_cache_memory_bytes" in found.arguments,
        kv_cache_tokens=reader.count("tokens"),
        num_gpu_blocks=reader.count("profiled_blocks") or reader.count("blocks"),
        num_gpu_blocks_override=reader.count("override"),
        block_size=reader.count("block_size") or log.block_size,
        max_concurrency=reader.number("concurrency"),
    )


def _start_up(reader: _Reader, log: StartupLog, found: _Found) -> StartupLog:
    return replace(
        log,
        version=reader.text("version", "api_version"),
        device=reader.text("device") or log.device,
        max_model_len=log.max_model_len or reader.count("max_model_len"),
        max_num_batched_tokens=log.max_num_batched_tokens or reader.count("batched_tokens"),
        utilization=log.utilization or reader.text("utilization", "rounded_utilization"),
        compile_seconds=reader.number("compile_seconds"),
        compile_cache=_compile_cache(reader),
        init_seconds=reader.number("init_seconds"),
        failure=found.failures[min(found.failures)] if found.failures else None,
    )


_NOT_A_LOG = (
    'is no start-up log of vLLM: none of its lines was found ("Initializing an LLM engine", "Model loading took", '
    '"Memory profiling takes", "Available KV cache memory", "KV cache size"); take the output of the engine\'s '
    "container from its start, for example kubectl logs deploy/NAME > engine.log"
)


def parse_startup_log(text: str) -> StartupLog | Problem:
    """Read what vLLM printed while it started; a Problem says why the text cannot be used.

    Several ranks in one text: least KV cache, most of everything that takes. Takes time linear in the text.
    """
    if len(text) > MAX_LOG_CHARACTERS:
        limit = f"at most {MAX_LOG_CHARACTERS // 1024**2} MB are read; cut the log after the engine has started"
        return Problem("log", f"{len(text)} characters", limit)
    found = _collect(_lines(text))
    if not (found.texts or found.failures or found.has_configuration or found.arguments):
        return Problem("log", "empty" if not text.strip() else "", _NOT_A_LOG)
    reader = _Reader(found.texts)
    log = _memory(reader, _configuration(found))
    return _start_up(reader, _kv_cache(reader, log, found), found)
