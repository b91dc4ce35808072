"""Who is who in a fleet: names, namespaces and identities that follow from a number."""

import uuid
from dataclasses import dataclass

NAMESPACES = 20
KINDS = 4
_SEED = uuid.UUID("5d2f6d4e-4a0c-4d0b-9d7a-3f1c9f0b6a11")


@dataclass(frozen=True)
class Member:
    """One deployment of the fleet."""

    number: int

    @property
    def kind(self) -> int:
        """Which of the kinds; every namespace has all of them."""
        return self.number // NAMESPACES % KINDS

    @property
    def namespace(self) -> str:
        """Of all its objects."""
        return f"scale-{self.number % NAMESPACES:02}"

    @property
    def name(self) -> str:
        """Of the resource, its Deployment and its Service; as long as every other."""
        return f"chat-{self.number:05}"

    @property
    def pod(self) -> str:
        """Name of its pod."""
        return f"{self.name}-7d4b9c6f5d-x2x4z"

    @property
    def address(self) -> str:
        """Of its pod."""
        return f"10.{self.number >> 16 & 255}.{self.number >> 8 & 255}.{self.number & 255}"

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    def uid(self, what: str) -> str:
        """Of one of its objects; the same in every run."""
        return str(uuid.uuid5(_SEED, f"{what}/{self.number}"))


def members(count: int) -> tuple[Member, ...]:
    """A fleet."""
    return tuple(Member(number) for number in range(count))
