"""A reverse proxy that breaks what passes through it, as rules say: `rules` are the values, `proxy` the server."""

from rehearsal.fault_proxy.proxy import FaultProxy
from rehearsal.fault_proxy.rules import (
    WRITES,
    Action,
    Answer,
    Delay,
    Drop,
    Freeze,
    Gone,
    Hold,
    Replay,
    Request,
    Reset,
    Rule,
    Tell,
    Write,
)

__all__ = [
    "WRITES",
    "Action",
    "Answer",
    "Delay",
    "Drop",
    "FaultProxy",
    "Freeze",
    "Gone",
    "Hold",
    "Replay",
    "Request",
    "Reset",
    "Rule",
    "Tell",
    "Write",
]
