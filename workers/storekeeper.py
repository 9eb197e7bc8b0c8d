"""Storekeeper: the store of a worker process, and the patience with it.

A store that fails is not a failed job. Its calls are repeated with growing pauses until a deadline; only then the
attempt ends, with a `StoreError` that names the store. What is the job's own fault (`MissingInput` and the other
`JobError`s, a value of a wrong type) is raised at once, and so is `Superseded`: a newer attempt has saved already.

The default store only looks at what it is given: it is called without any of this.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..pipeline.errors import JobError, StoreError, Superseded, UserError
from .failures import message_of, type_name

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
DEADLINE = 30.0

T = TypeVar("T")
log = logging.getLogger(__name__)


class Storekeeper:
    """Calls a store as often as needed. `make` makes it again after an interruption has left it half way."""

    def __init__(
        self,
        make: Callable[[], Any],
        name: str,
        deadline: float = DEADLINE,
        *,
        saves: bool = True,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.saves = saves
        """False: the store keeps nothing, and `save` need not be called."""
        self._make = make
        self._deadline = deadline
        self._pause = pause
        self._store: Any = None

    def start(self) -> None:
        """Make the store now, to know at once when it cannot be made."""
        self._store = self._make()

    def retrieve(self, info: dict[str, Any]) -> Any:
        if not self.saves:
            return self._ready().retrieve(info)
        return self.patiently("retrieve", lambda: self._ready().retrieve(info), about(info))

    def save(self, info: dict[str, Any], result: Any) -> None:
        if self.saves:
            info["worker_result"] = result
            self.patiently("save", lambda: self._ready().save(info), about(info))

    def save_monitoring(self, record: Any) -> None:
        """Once, and without patience: the next record comes soon."""
        save = getattr(self._ready(), "save_monitoring", None)
        if save is not None:
            save(record)

    def discard(self) -> None:
        """An interruption came out of the middle of a call: nobody knows what state the store is in."""
        self.close()
        self._store = None

    def close(self) -> None:
        close = getattr(self._store, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception:
            log.exception("store %s failed to close", self.name)

    def patiently(self, operation: str, call: Callable[[], T], about: str, name: str = "") -> T:
        """The result of a call, tried until it works or the deadline has come; `about` says for whom, for the log."""
        name = name or self.name
        give_up = 0.0
        pause = FIRST_PAUSE
        while True:
            try:
                return call()
            except Superseded:
                raise
            except StoreError as error:
                failed: BaseException = error
            except (JobError, UserError, MemoryError, RecursionError):
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a user's store raises
                failed = error
            now = time.monotonic()
            give_up = give_up or now + self._deadline
            if now + pause > give_up:
                raise self._given_up(name, operation, failed) from failed
            log.warning("%s: store %s failed to %s (%s), trying again", about, name, operation, message_of(failed))
            self._pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _ready(self) -> Any:
        if self._store is None:
            self._store = self._make()
        return self._store

    def _given_up(self, name: str, operation: str, failed: BaseException) -> StoreError:
        if isinstance(failed, StoreError):
            return failed
        reason = f"{type_name(failed)}: {message_of(failed)} (tried for {self._deadline:g} s)"
        return StoreError(name, operation, reason)


def about(info: dict[str, Any]) -> str:
    """Which attempt a line of the log is about."""
    return f"run {info['pipeline']} job {info['job']} {list(info['path']) or ''}".rstrip()
