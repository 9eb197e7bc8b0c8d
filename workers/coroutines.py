"""Coroutines: how `async` workers run, on one event loop that is kept for the next one."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from typing import Any


class Coroutines:
    """Runs coroutines to their ends, one at a time, with the context variables of the caller."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(coroutine, context=contextvars.copy_context())
        return _in_thread(coroutine)  # a notebook: this thread has a loop that runs already

    def close(self) -> None:
        """Cancel what is left on the loop. The next coroutine gets a new one."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            runner.close()


def _in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on a loop in another thread."""
    ended: list[tuple[Any, BaseException | None]] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            with asyncio.Runner() as runner:
                ended.append((runner.run(coroutine, context=context), None))
        except BaseException as error:  # noqa: BLE001  raised again in the caller
            ended.append((None, error))

    thread = threading.Thread(target=run, name="headrace-coroutine")
    thread.start()
    thread.join()
    value, error = ended[0]
    if error is not None:
        raise error
    return value
