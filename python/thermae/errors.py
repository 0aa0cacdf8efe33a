"""What can go wrong, by what to do next.

Every exception of this package is a :class:`ThermaeError`. Where Python has a kind of its own (``ValueError``,
``LookupError``, ``ConnectionError``, ``TimeoutError``, ``PermissionError``) the exception is one of those, too.
"""

from __future__ import annotations


class ThermaeError(Exception):
    """Anything that this package raises."""


class InvalidRequestError(ThermaeError, ValueError):
    """The request cannot be right: correct it before sending it again."""


class InvalidRowsError(InvalidRequestError):
    """Rows that do not fit the feature view. None of them was written.

    ``rows`` holds the first of them: ``(row, reason)``, rows counted from 0.
    """

    rows: list[tuple[int, str]] = []


class NotFoundError(ThermaeError, LookupError):
    """There is no such view, feature or service."""


class RefusedError(ThermaeError):
    """Definitions that are refused; nothing of them was applied."""


class ConflictError(ThermaeError):
    """What was looked at has changed meanwhile: look again, then repeat."""


class StalePlanError(ConflictError):
    """The columns behind a prepared read have changed. Stores prepare again by themselves."""


class NotAppliedError(ThermaeError):
    """The store refused rows for a lasting reason; the others are written. ``rows`` as far as they are known."""

    rows: list[tuple[int, str]] = []


class InDoubtError(ThermaeError):
    """It cannot be told whether a write happened. Repeating it under the same producer is safe."""


class ConnectionFailedError(ThermaeError, ConnectionError):
    """No server answers at the address, or the connection was lost."""


class OverloadedError(ThermaeError):
    """The server has too much to do: repeat after ``retry_after_s`` seconds."""

    retry_after_s: float = 0.0


class RequestTimeoutError(ThermaeError, TimeoutError):
    """No answer came in time. A write is in doubt then."""


class AccessError(ThermaeError, PermissionError):
    """The caller may not do this."""


class MappedReadsError(ThermaeError):
    """The server's tables cannot be mapped here: connect without ``mapped``."""


class StoreError(ThermaeError):
    """The store, its disk or its answer is not as it must be: this is for who runs it."""
