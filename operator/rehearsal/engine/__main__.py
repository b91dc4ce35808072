"""`python -m rehearsal.engine <vllm serve arguments>`: load for a while, then serve until SIGTERM.

Exit codes are vLLM's: 2 for a command line that the parser refuses, 1 for a configuration that the engine refuses.
"""

import asyncio
import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from prometheus_client import REGISTRY

from rehearsal.engine.arguments import VERSION, EngineArguments, parse_arguments
from rehearsal.engine.batch import Batch
from rehearsal.engine.behaviour import BehaviourFile
from rehearsal.engine.cache import kv_cache_tokens
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.engine.server import Server
from rehearsal.engine.speculation import ConfigError

_DRAIN_SECONDS = 5
"""For running requests to end after SIGTERM, unless `--shutdown-timeout` allows more."""


def _say(text: str) -> None:
    print(f"INFO {time.strftime('%m-%d %H:%M:%S')} [rehearsal.engine] {text}", flush=True)


def _middleware(path: str) -> Any:
    """The class that is named, imported as vLLM does."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


async def _serve(arguments: EngineArguments, file: BehaviourFile) -> int:
    """Load, then serve; returns the exit code of an engine that does not become ready."""
    behaviour = file.at(time.monotonic())
    await asyncio.sleep(behaviour.start_seconds)
    if behaviour.fails_at_start(arguments.draft_kind):
        print(behaviour.stderr_at_start, file=sys.stderr, flush=True)
        return behaviour.exit_code_at_start
    tokens = behaviour.kv_cache_tokens or kv_cache_tokens(arguments)
    metrics = EngineMetrics(arguments, tokens, time.time())
    batch = Batch(arguments, file, metrics, tokens)
    host = os.environ.get("REHEARSAL_POD_IP", arguments.host)
    beside = REGISTRY if arguments.middleware else None
    application = Server(arguments, batch, metrics, file, beside).application()
    if arguments.middleware:
        application.add_middleware(_middleware(arguments.middleware))
    config = uvicorn.Config(
        application,
        host=host,
        port=arguments.port,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(_DRAIN_SECONDS, arguments.shutdown_timeout_seconds),
    )
    _say(f"Starting vLLM API server {VERSION} (simulated) on http://{host}:{arguments.port}")
    await _until_terminated(uvicorn.Server(config), batch)
    return 0


async def _until_terminated(server: uvicorn.Server, batch: Batch) -> None:
    """Serve until SIGTERM, and then until the running requests have ended."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn drains on SIGTERM and then raises it again for whoever listened before. By default that would be the
    # interpreter, and an engine that ended well would leave -15 instead of 0.
    signal.signal(signal.SIGTERM, stop)
    steps = asyncio.create_task(batch.run())
    serving = asyncio.create_task(server.serve())
    await asyncio.wait({steps, serving}, return_when=asyncio.FIRST_COMPLETED)
    # A step loop that ended did so with an exception, and nothing would be answered any more.
    if steps.done():
        steps.result()
    steps.cancel()
    await serving


def main(words: Sequence[str]) -> int:
    """Run the engine; returns its exit code."""
    try:
        arguments = parse_arguments(words)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    path = os.environ.get("REHEARSAL_BEHAVIOUR")
    _say(f"vLLM {VERSION} (simulated), model {arguments.model}, speculation {arguments.draft_kind}")
    return asyncio.run(_serve(arguments, BehaviourFile(Path(path) if path else None)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
