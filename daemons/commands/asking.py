"""The manager as commands use it: it also finds runs by the beginning of an id, and asks the Router directly."""

from __future__ import annotations

from typing import Any, Self

from ...pipeline.manager import PipelineManager
from ..client.conversation import Question


class Cluster(PipelineManager):
    def __enter__(self) -> Self:
        return self

    def ask(self, what: Question, run: str = "", **argument: Any) -> dict[str, Any]:
        return self._client.run(self._client.conversation.ask(what, run, **argument))

    def find(self, prefix: str) -> str:
        """The whole id of the run whose id begins like this."""
        return str(self.ask("run", prefix.lower())["id"])

    def ends_within(self, run: str, seconds: float) -> bool:
        """Wait for the end of a run, for so long at the most."""
        try:
            self.wait(run, seconds)
        except TimeoutError:
            return False
        return True
