"""Answers: what a worker's return value says besides its result.

The Pipeliner never reads a result. What it has to know of one stands in typed `Signs`, worked out here, beside the
packed bytes: the length of a list that is spread, chosen children, a reason to skip, a graft, the keys that a gather
groups by. An answer that cannot be honoured raises `InvalidAnswer`: the job fails and is not tried again, because the
same code would say the same.
"""

from __future__ import annotations

import json
from typing import Any

from ..pipeline.answers import Choose, Graft, Skip
from ..pipeline.errors import JobError
from ..pipeline.facts import Signs
from ..pipeline.task import Task

_PLAIN = frozenset({dict, type(None), list, str, int, float, bool, bytes, tuple})


class InvalidAnswer(JobError):
    """The worker's answer cannot be honoured."""


def understand(answer: Any, task: Task) -> tuple[Any, Signs | None]:
    """The result, and what is to be said of it."""
    if type(answer) in _PLAIN and not task.spread and not task.report:
        return answer, None
    if isinstance(answer, Skip):
        return None, Signs(skip=answer.reason)
    chosen: tuple[str, ...] | None = None
    graft: bytes | None = None
    if isinstance(answer, Choose):
        chosen, answer = answer.children, answer.result
    elif isinstance(answer, Graft):
        graft, answer = _grafted(answer), answer.result
    spread: int | None = None
    if task.spread:
        answer = _spreadable(answer, task)
        spread = len(answer)
    keys = {key: _reported(answer, key, task) for key in task.report}
    if chosen is None and graft is None and spread is None and not keys:
        return answer, None
    return answer, Signs(spread=spread, chosen=chosen, keys=keys, graft=graft)


def _grafted(answer: Graft) -> bytes:
    try:
        return answer.definition()
    except Exception as error:
        raise InvalidAnswer(f"the graft cannot be: {error}") from error


def _spreadable(answer: Any, task: Task) -> list[Any]:
    if not isinstance(answer, list | tuple):
        kind = type(answer).__name__
        raise InvalidAnswer(f"worker {task.worker!r} is spread, so it has to return a list, and it returned a {kind}")
    return list(answer)


def _reported(answer: Any, key: str, task: Task) -> str:
    if not isinstance(answer, dict) or key not in answer:
        found = f"a dict with {sorted(map(str, answer))}" if isinstance(answer, dict) else f"a {type(answer).__name__}"
        text = f"a gather groups by {key!r}, which is not in the result of worker {task.worker!r}: it returned {found}"
        raise InvalidAnswer(text)
    try:
        return canonical(answer[key])
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidAnswer(
            f"the value of {key!r} in the result of worker {task.worker!r} is no key: {error}"
        ) from None


def canonical(value: Any) -> str:
    """A text that is the same for equal keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_named)


def _named(value: Any) -> dict[str, str]:
    if isinstance(value, set | frozenset):
        return {"set": ",".join(sorted(map(canonical, value)))}
    return {type(value).__name__: str(value)}
