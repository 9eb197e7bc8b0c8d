"""What a sweep has lived through: every feature and fault, with the number of scenarios in which it occurred."""

from __future__ import annotations

from collections import Counter

from .faults import KINDS

NEEDED = (
    *(f"fault {kind}" for kind in sorted(set(KINDS) - {"link.cut", "router.kill", "store.down"})),
    *(f"fault link.cut {way}, {what}" for way in ("both", "to", "from") for what in ("held", "lost")),
    *(f"fault router.kill {when}" for when in ("at any moment", "between two sends", "before", "written", "synced")),
    *("fault router.kill when a Broker is given up", "fault link.stray", "fact Returned lost, uncharged"),
    *("a hook that is a sub-run was opened", "the results of a sub-run were collected"),
    *("fault store.down: users", "fault store.down: values"),
    *(
        f"a user's {verb}"
        for verb in ("submit", "again", "cancel", "retry", "rerun", "pause", "follow", "prune", "sweep")
    ),
    *("a user's drain", "a user's undrain", "a user's resume", "a user's halt", "a user's unhalt"),
    *(f"fact {name}" for name in ("Accepted", "Released", "Cancelled", "Paused", "Reopened", "Ending", "Finished")),
    *("fact Pruned", "fact Registered", "fact Unregistered"),
    *(f"fact Returned {kind}" for kind in ("success", "failed", "timeout", "cancelled", "died", "lost", "expired")),
    *(f"an answer with {sign}" for sign in ("skip", "chosen", "invalid", "retry_after")),
    *(f"a gather: {how}" for how in ("all", "all, one level", "by key", "by key, one level", "in windows")),
    *("a graft was put into its run", "a group failed as a whole", "hooks of a group", "a value by reference"),
    *("a packet too large for its pipe", "a store refused an older fence", "a later attempt after a delay"),
    *("the store of users was tried again", "the store of values was tried again", "an attempt of a later round"),
    *("a run that waited in vain for another one", "a signal of how far a job is"),
    *("a key was held", "a run replaced another one", "a run waited for the end of another one"),
    *("a request refused: busy", "a request refused: conflict", "a request refused: not-found"),
    *("a limit was used up", "a Broker of the epoch before was waited for", "a lease was adopted"),
)
"""What every sweep of two thousand seeds has to meet."""


def missing(seen: Counter[str]) -> list[str]:
    return [what for what in NEEDED if not seen[what]]


def table(seen: Counter[str], seeds: int) -> str:
    rows = sorted({*seen, *NEEDED})
    lines = [f"| {what} | {seen[what]} |" for what in rows]
    return "\n".join([f"| what happened | in so many of {seeds} |", "| --- | --- |", *lines])
