"""Failures: what is told of an exception that user code has raised.

The user sees their own frames, not the machinery that called them; a text of any length is cut in the middle, because
both ends of a traceback matter. Nothing here trusts the exception: its `str` may raise, its chain may be endless.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from ..pipeline.facts import Failure

MAX_TRACEBACK = 32 * 1024
MAX_MESSAGE = 4 * 1024
MAX_BASES = 32
_OURS = tuple(f"{Path(__file__).parent.parent / folder}/" for folder in ("workers", "pipeline", "stores"))


def failure_of(error: BaseException, log_tail: str = "") -> Failure:
    """The exception in words and text only."""
    return Failure(
        type=type_name(error),
        message=message_of(error),
        traceback=traceback_of(error),
        exit_code=_exit_code(error),
        log_tail=log_tail,
        bases=tuple(name_of(kind) for kind in type(error).__mro__[1:-1])[:MAX_BASES],
    )


def type_name(error: BaseException) -> str:
    return name_of(type(error))


def name_of(kind: type) -> str:
    plain = kind.__module__ == "builtins" or kind.__module__.startswith("headrace.")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the worker called sys.exit({error.code!r})"
    try:
        return shortened(str(error), MAX_MESSAGE)
    except Exception as broken:  # noqa: BLE001  the user's own __str__
        return f"(its text cannot be made: {type(broken).__name__})"


def traceback_of(error: BaseException) -> str:
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _keep_users_frames(told)
        return shortened("".join(told.format()).rstrip(), MAX_TRACEBACK)
    except Exception as broken:  # noqa: BLE001  the user's own exception class
        return f"{type_name(error)}: (its traceback cannot be made: {type(broken).__name__})"


def _keep_users_frames(told: traceback.TracebackException) -> None:
    """Of an exception and all that it is chained to, keep the frames from the first one on that is not ours."""
    chain: list[traceback.TracebackException | None] = [told]
    while chain:
        link = chain.pop()
        if link is None:
            continue
        stack = link.stack
        ours = next((index for index, item in enumerate(stack) if not item.filename.startswith(_OURS)), len(stack))
        del stack[:ours]
        chain += [link.__cause__, link.__context__]


def _exit_code(error: BaseException) -> int | None:
    code = getattr(error, "exit_code", None)
    if code is None and isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters; lone surrogates, which no wire carries, are shown as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}\n... {len(text) - limit} characters left out ...\n{text[head - limit :]}"
