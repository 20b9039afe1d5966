"""Errors, named for what the one who catches them has to do."""

from __future__ import annotations


class FairwayError(Exception):
    """An expected failure whose text is one clear line for a person; the command line prints it and exits 1."""


class Refused(FairwayError):
    """The input is wrong and nothing was changed; the text names the object, the field and the way out."""


class Unsupported(FairwayError):
    """This machine lacks a privilege, a program or a kernel feature; the text names it and the way to get it."""


class Retry(FairwayError):
    """It failed for now; the same step may succeed after `after_s` seconds."""

    def __init__(self, message: str, *, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s
