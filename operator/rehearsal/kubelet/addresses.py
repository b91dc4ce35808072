"""Loopback addresses: a network 127.A.B.0/24 of a node's own, and one address of it per pod.

All pods can then listen on port 8000, and several rehearsals can run side by side. Only Linux answers on all of
127.0.0.0/8 without further ado.
"""

import random
import socket
from collections import deque

# The kubelet's own port: holding it on the first address says that the network is taken.
_HELD_PORT = 10250
_ATTEMPTS = 100


class AddressError(Exception):
    """No network, or no address in it, is left."""


class Addresses:
    """A reserved network; `release` ends the reservation.

    Raises:
        AddressError: no network could be reserved.
    """

    def __init__(self) -> None:
        self._prefix, self._held = _reserve()
        self._free = deque(range(2, 255))

    @property
    def host(self) -> str:
        """The node's own address."""
        return f"{self._prefix}.1"

    def take(self) -> str:
        """The address that has been free for longest, so that nobody mistakes a new pod for the one before it.

        Raises:
            AddressError: every address is in use.
        """
        if not self._free:
            raise AddressError(f"every address of {self._prefix}.0/24 is in use")
        return f"{self._prefix}.{self._free.popleft()}"

    def give_back(self, address: str) -> None:
        """The pod is gone."""
        self._free.append(int(address.rpartition(".")[2]))

    def release(self) -> None:
        """Let another node have the network."""
        self._held.close()


def _reserve() -> tuple[str, socket.socket]:
    for _ in range(_ATTEMPTS):
        prefix = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
        held = socket.socket()
        try:
            held.bind((f"{prefix}.1", _HELD_PORT))
        except OSError:
            held.close()
            continue
        return prefix, held
    raise AddressError("no network 127.A.B.0/24 could be reserved; only Linux has them all without preparation")
