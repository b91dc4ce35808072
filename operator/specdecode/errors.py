"""Exceptions of the operator. They are for I/O; expected bad outcomes of the pure core are values.

    OperatorError
    ├── SettingsError          the operator cannot start as configured
    └── ClusterError           the API server answered, or did not
        ├── NotFoundError      404, 410: the object is gone
        ├── ConflictError      409: changed since it was read, or another field manager holds it
        ├── ForbiddenError     403: RBAC, quota, admission
        ├── RefusedError       400, 422: the object itself is refused
        ├── UnavailableError   429, 5xx, time-outs, connection errors: the outcome may be unknown
        └── LeaseLostError     not asked at all: another replica may be the writer by now

Foreign exceptions are translated once, in `kube`.
"""


class OperatorError(Exception):
    """Base of all."""


class SettingsError(OperatorError):
    """The operator cannot start as configured; the message says what to change."""


class ClusterError(OperatorError):
    """The API server did not do what was asked."""

    def __init__(self, message: str, *, status: int = 0, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class NotFoundError(ClusterError):
    """The object is gone."""


class ConflictError(ClusterError):
    """The object changed since it was read; read it again."""


class ForbiddenError(ClusterError):
    """RBAC, quota or admission refused the request."""


class RefusedError(ClusterError):
    """The object is invalid for the API server; only another object helps."""


class UnavailableError(ClusterError):
    """Throttled, failing or out of reach; the outcome may be unknown. Applying again is safe."""


class LeaseLostError(ClusterError):
    """This process is no longer the one that writes; only its end helps."""
