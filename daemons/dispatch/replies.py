"""Replies: how requests about runs are answered, and how it is seen that one is the repeat of another."""

from __future__ import annotations

import hashlib

import msgspec

from ...pipeline.definition import RunOptions
from ...pipeline.errors import NotFound
from ...pipeline.facts import Verdict
from ..protocol import Control, Done, Failed, RunEnd, Submission
from .cluster import Answer, Known

BUSY_PAUSE = 1.0
"""Seconds after which a client may ask again."""
_PLAIN = RunOptions()


def remembered(message: Control, done: Done) -> Answer:
    """What is kept with the fact, so that a repeat of the request finds what the first one did."""
    return message.id, digest(message), done.text.encode()


def digest(message: Control) -> bytes:
    """Tells whether two requests with one id are the same request."""
    said = (message.verb, message.run, message.reason, message.argument)
    return hashlib.blake2b(repr(said).encode(), digest_size=16).digest()


def body_digest(one: Submission) -> bytes:
    """Tells whether two submissions under one id are the same."""
    body = hashlib.blake2b(one.definition, digest_size=16)
    body.update(b"" if one.data is None else b"\0" + one.data)
    if one.options != _PLAIN:
        body.update(msgspec.msgpack.encode(one.options))
    return body.digest()


def not_found(request: str, error: NotFound) -> Failed:
    return Failed(request, "not-found", str(error), missing=(error.what, error.name, error.hint))


def closed(message: Control, one: Known | None) -> Done | Failed:
    """The answer to a command about a run that is not open."""
    if one is None:
        return not_found(message.id, NotFound("run", message.run))
    end = f"it has ended already: {one.verdict or 'pruned'}"
    if message.verb == "cancel":
        return Done(message.id, end)
    return Failed(message.id, "conflict", f"run {message.run}: {end}")


def run_end(one: Known, verdict: Verdict) -> RunEnd:
    return RunEnd(one.run, verdict, one.duration, one.at, one.error)


def succeeded(one: Known | None) -> bool:
    return one is not None and one.verdict == "success"


def after_reason(name: str, one: Known | None) -> str:
    if one is None or one.verdict is None:
        return f"it waits for run {name}, which the Router does not know"
    why = f": {one.error.reason}" if one.error else ""
    return f"it waits for run {name}, which ended {one.verdict}{why}"
