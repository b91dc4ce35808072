"""Which vLLM an image holds. First step of the plan: flags, metric names and memory rules all follow from it.

It reads text only; it never asks a registry or a running engine.
"""

import re
from dataclasses import dataclass
from typing import Self

from specdecode.api.resource import Problem
from specdecode.api.spec import VERSION_IN_TAG

_OFFICIAL_IMAGE = re.compile(r"^(docker\.io/)?vllm/vllm-openai(:|@)")


@dataclass(frozen=True, order=True)
class EngineVersion:
    """A release of vLLM."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0.32.0`. The text must have passed the pattern of `spec.engine.version` or of an image tag."""
        major, minor, patch = (int(part) for part in text.split("."))
        return cls(major, minor, patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


NEWEST_KNOWN = EngineVersion(0, 33, 0)

OLDEST_SUPPORTED = EngineVersion(0, 6, 0)
"""First release whose arguments, memory rules and metric names were read."""


def from_image(image: str) -> EngineVersion | None:
    """The version that an image's tag names, if it names one."""
    found = re.search(VERSION_IN_TAG, image)
    return None if found is None else EngineVersion.parse(found.group(1))


def resolve(image: str, version: str | None) -> EngineVersion | Problem:
    """The version to plan for. `version` wins over the tag, except on vLLM's own image, where they must agree."""
    tagged = from_image(image)
    if version is None:
        return tagged or Problem(
            "spec.engine.image",
            image,
            "the tag does not name a version of vLLM; set spec.engine.version, for example 0.32.0",
        )
    stated = EngineVersion.parse(version)
    if tagged is not None and tagged != stated and _OFFICIAL_IMAGE.match(image):
        return Problem(
            "spec.engine.version",
            version,
            f"the image {image} is vLLM {tagged}; make the two agree or leave the version out",
        )
    return stated


def too_old(version: EngineVersion) -> Problem | None:
    """Why a version is refused, if it is."""
    if version >= OLDEST_SUPPORTED:
        return None
    return Problem(
        "spec.engine.version",
        str(version),
        f"vLLM {OLDEST_SUPPORTED} is the oldest version whose flags, memory and metrics are known here; use a newer "
        "image, for example vllm/vllm-openai:v0.32.0",
    )


def is_newer_than_known(version: EngineVersion) -> bool:
    """Whether a release is beyond what these tables were made from. A patch release of a known minor one is not."""
    return (version.major, version.minor) > (NEWEST_KNOWN.major, NEWEST_KNOWN.minor)


def nearest_known(version: EngineVersion) -> EngineVersion:
    """The version whose rules apply: itself, or the newest known one."""
    return NEWEST_KNOWN if is_newer_than_known(version) else version
