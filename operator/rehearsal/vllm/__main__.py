"""`make engine`: makes the engine environment, once, and says where it is."""

import os
import sys

from rehearsal.vllm.environment import EnvironmentMissingError, ensure


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    try:
        engine = ensure(dict(os.environ), _say)
    except EnvironmentMissingError as error:
        print(error, file=sys.stderr)
        return 1
    _say(f"vLLM {engine.running.release} runs, and {engine.newest.release} can be asked, in {engine.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
