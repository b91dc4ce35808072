"""The meter: per-request acceptance by temperature, measured inside the engine's own server.

`middleware` is one self-contained file that vLLM loads with `--middleware`; it reaches the pod as a ConfigMap and is
never imported by the operator, which only reads its text.
"""

from functools import cache
from importlib import resources

MODULE = "specdecode_meter"
"""What the file is called in the pod: no package, so that it needs nothing of the operator's."""
FILE = f"{MODULE}.py"
MIDDLEWARE = f"{MODULE}.Meter"
"""The value of `--middleware`."""


@cache
def source() -> str:
    """The text of the middleware."""
    return resources.files("specdecode.meter").joinpath("middleware.py").read_text(encoding="utf-8")
