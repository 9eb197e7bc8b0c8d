"""How commands reach the cluster: a manager for what changes something, an `Inquiry` for what is only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...pipeline.errors import NotFound, UserError
from ..config import ClientConfig
from .options import chosen

if TYPE_CHECKING:
    from ...pipeline.definition import Definition
    from ...pipeline.facts import Fact
    from ...pipeline.manager import PipelineManager
    from ..conversation import Question
    from ..protocol import RunEnd
    from ..reading import RunSummary

FULL = 32
"""Characters of a whole id."""


class Ambiguous(UserError):
    """Several runs' ids begin like this."""

    def __init__(self, prefix: str, found: list[str]) -> None:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        super().__init__(f"{prefix!r} is the beginning of {len(found)} ids ({shown}); write more of it")


class Inquiry:
    """Questions to the Router."""

    def __init__(self, address: str, timeout: float) -> None:
        from ..client import Client

        self.client = Client(address, self._ended, timeout=timeout)
        self._followed: set[str] = set()
        self._over: set[str] = set()

    def _ended(self, end: RunEnd) -> None:
        self._over.add(end.run)

    def ask(self, what: Question, run: str = "", **argument: Any) -> dict[str, Any]:
        return self.client.run(self.client.conversation.ask(what, run, **argument))

    def runs(self, state: str | None = None, limit: int | None = None) -> list[RunSummary]:
        """Runs, the newest first."""
        from ..reading import read_runs

        return self.client.run(read_runs(self.client.conversation, state, limit))

    def facts(self, run: str, after: int = 0) -> list[tuple[int, Fact]]:
        """The facts of a run that came after this one."""
        from ..reading import read_facts

        return self.client.run(read_facts(self.client.conversation, run, after))

    def definition(self, run: str) -> Definition:
        from ..reading import read_definition

        return self.client.run(read_definition(self.client.conversation, run))

    def wait(self, run: str, seconds: float) -> bool:
        """Wait for the end of a run, for so long at the most; True when it has ended."""
        conversation = self.client.conversation
        if run not in self._followed:
            self._followed.add(run)
            conversation.requests.follow([run])
        until = conversation.clock() + seconds
        return self.client.run(conversation.listen(run, lambda: run in self._over, until))

    def find(self, prefix: str) -> str:
        """The id that begins like this."""
        if len(prefix) >= FULL:
            return prefix.lower()
        found = [one.id for one in self.runs() if one.id.startswith(prefix.lower())]
        if not found:
            raise NotFound("run", prefix, "`headrace list` shows them")
        if len(found) > 1:
            raise Ambiguous(prefix, found)
        return found[0]


@contextmanager
def inquiry(given: Mapping[str, object]) -> Iterator[Inquiry]:
    made = chosen(ClientConfig, given)
    router = Inquiry(made.api, made.answer_timeout)
    try:
        yield router
    finally:
        router.client.close()


@contextmanager
def managing(given: Mapping[str, object]) -> Iterator[PipelineManager]:
    from ...pipeline.manager import PipelineManager

    made = chosen(ClientConfig, given)
    with PipelineManager(made.api, made.broadcast, timeout=made.answer_timeout) as manager:
        yield manager
