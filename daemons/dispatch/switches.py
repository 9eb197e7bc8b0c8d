"""Switches: what is paused by role, or as a whole. Nothing new of it is started; what runs goes on.

A job is kept by the pause of any role that it wants by name. The jobs of a cluster that is paused are kept all, hooks
among them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...pipeline.requirement import wanted

EVERYTHING = "the cluster"


class Switches:
    def __init__(self) -> None:
        self.roles: set[str] = set()
        self.everything = False

    def restore(self, paused: Iterable[str | None]) -> None:
        """What the journal says; None is the whole cluster."""
        for role in paused:
            self.turn(role, True)

    def is_on(self, role: str | None) -> bool:
        return self.everything if role is None else role in self.roles

    def turn(self, role: str | None, on: bool) -> None:
        if role is None:
            self.everything = on
        elif on:
            self.roles.add(role)
        else:
            self.roles.discard(role)

    def keeps(self, role: str | None) -> str:
        """Why a job that wants this role is not started; empty: nothing keeps it."""
        if self.everything:
            return f"paused: {EVERYTHING}"
        found = wanted(role).among(self.roles) if role is not None and self.roles else ()
        return f"paused: role {', '.join(sorted(found))}" if found else ""
