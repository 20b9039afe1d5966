"""How an API server says no: metav1.Status and its reasons (apimachinery `meta/v1/types.go`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.api.types import Object
from fairway.base.errors import FairwayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One field that is wrong.

    reason: FieldValueRequired, FieldValueInvalid, ... field: a path such as spec.ports[0].port.
    """

    reason: str
    message: str
    field: str

    def to_json(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(FairwayError):
    """A Status of kind Failure: raised by the server's handlers, and by the client for a server's answer.

    code: the HTTP status. reason: NotFound, AlreadyExists, Conflict, Invalid, BadRequest, Expired, ...
    details: name, group, kind, uid, causes, retryAfterSeconds as in StatusDetails, or None.
    """

    def __init__(self, code: int, reason: str, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details) if details is not None else None

    def to_json(self) -> Object:
        """The Status object that travels."""
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:
            status["details"] = self.details
        return status

    @classmethod
    def from_json(cls, code: int, status: Object) -> ApiError:
        """From an answer's body; a body that is no Status keeps the HTTP code and its text."""
        if status.get("kind") != "Status":
            return cls(code, "Unknown", str(status))
        return cls(
            int(status.get("code") or code),
            str(status.get("reason") or "Unknown"),
            str(status.get("message") or ""),
            details=status.get("details"),
        )


def causes_of(causes: Sequence[Cause]) -> list[Object]:
    return [cause.to_json() for cause in causes]
