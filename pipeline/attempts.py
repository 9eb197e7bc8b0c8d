"""Whether a failed instance is tried again, when, and with which words it is given up.

An end counts against one budget only: the job's own failures and timeouts against its `tries`; deaths of its process
against quarantine; losses of its Broker against a budget of their own. What is not charged counts nowhere. The random
part of a delay is a hash of run, instance and attempt, so that every replay waits equally long.
"""

from __future__ import annotations

from hashlib import blake2b

from .definition import RetryRule
from .facts import Failure, Path, Returned

DEATHS = 3
"""Deaths of its process after which a job is quarantined."""
LOSSES = 10
"""Losses of its Broker after which a job is given up."""
ASKED = 10
"""Tries of a job that raises `RetryAfter` and has no `Retry` that says how many it may have."""
LONGEST = 366 * 86400.0
"""No delay is longer than a year."""
_ONCE = RetryRule()
_LAST_WORDS = 3


class Attempts:
    """What is known of the attempts of one instance that did not end well at the first."""

    __slots__ = ("after", "attempt", "deaths", "delay", "evidence", "failures", "losses")

    def __init__(self) -> None:
        self.attempt = 1
        """The number of the attempt that is due or under way."""
        self.after = 0
        """The fact that its delay counts from."""
        self.delay = 0.0
        self.failures = 0
        self.deaths = 0
        self.losses = 0
        self.evidence: list[str] = []
        """What was said at the last deaths or losses."""

    def again(self, fact: Returned, rule: RetryRule | None, run: str) -> float | None:
        """Count this end. The delay before the next attempt in seconds; None: there is none."""
        if fact.kind in ("cancelled", "expired") or (fact.signs is not None and fact.signs.invalid is not None):
            return None
        if fact.kind == "died":
            self._hear(fact)
            self.deaths += fact.charged
            return 0.0 if self.deaths < DEATHS else None
        if fact.kind == "lost":
            self._hear(fact)
            self.losses += fact.charged
            return 0.0 if self.losses < LOSSES else None
        if not fact.charged:
            return 0.0
        self.failures += 1
        return self._own(fact, rule, run)

    def _own(self, fact: Returned, rule: RetryRule | None, run: str) -> float | None:
        """The job's own failure: by its rule, or as long as it asks for."""
        asked = fact.signs.retry_after if fact.signs is not None else None
        tries = ASKED if asked is not None and rule is None else (rule or _ONCE).tries
        if self.failures >= tries:
            return None
        if asked is not None:
            return min(max(0.0, asked), LONGEST)
        if rule is None or not covers(rule, fact):
            return None
        return wait(rule, self.failures, (run, fact.job, fact.path, fact.round, fact.attempt))

    def _hear(self, fact: Returned) -> None:
        words = fact.error.message if fact.error is not None else fact.kind
        place = f" on {fact.place}" if fact.place else ""
        self.evidence = [*self.evidence, f"attempt {fact.attempt}{place}: {words}"][-_LAST_WORDS:]

    def reason(self, fact: Returned, timeout: float | None, queue_timeout: float | None) -> str:
        """Why the instance is given up, in one line."""
        said = words(fact.error)
        invalid = fact.signs.invalid if fact.signs is not None else None
        if invalid is not None:
            return invalid
        if fact.kind == "died":
            return f"quarantined: its process died {self.deaths} times ({'; '.join(self.evidence)})"
        if fact.kind == "lost":
            return f"lost: its Broker was lost {self.losses} times ({'; '.join(self.evidence)})"
        if fact.kind == "expired":
            limit = f"its queue_timeout of {queue_timeout:g} s" if queue_timeout is not None else "its queue_timeout"
            return said or f"it waited longer than {limit} for a Broker"
        if fact.kind == "timeout":
            limit = f"its timeout of {timeout:g} s" if timeout is not None else "its timeout"
            return said or f"it ran longer than {limit}"
        return said or {"store": "the store failed", "cancelled": "cancelled"}.get(fact.kind, "failed")


def words(error: Failure | None) -> str:
    if error is None:
        return ""
    name = error.type.rsplit(".", 1)[-1]
    return f"{name}: {error.message}" if name and error.message else error.message or name


def covers(rule: RetryRule, fact: Returned) -> bool:
    """Do `on` and `never` let this failure be tried again? Names count with or without modules, and those of bases."""
    names: set[str | int] = {fact.kind}
    if fact.error is not None:
        kinds = (fact.error.type, *fact.error.bases)
        names |= {*kinds, *(kind.rsplit(".", 1)[-1] for kind in kinds)}
        if fact.error.exit_code is not None:
            names.add(fact.error.exit_code)
    names |= {one for one in (*rule.on, *rule.never) if isinstance(one, str) and one.rsplit(".", 1)[-1] in names}
    if names.intersection(rule.never):
        return False
    return not rule.on or bool(names.intersection(rule.on))


def wait(rule: RetryRule, failures: int, seed: tuple[str, str, Path, int, int]) -> float:
    """Seconds before the next attempt after so many failures: growing, capped, and a random part of that."""
    cap = LONGEST if rule.cap is None else min(rule.cap, LONGEST)
    try:
        full = rule.delay * rule.factor ** (failures - 1)
    except OverflowError:
        full = cap
    full = min(max(0.0, full), cap)
    return full * fraction(seed) if rule.jitter else full


def fraction(seed: tuple[str, str, Path, int, int]) -> float:
    """A number from 0 up to 1 that looks random and is the same in every replay."""
    digest = blake2b(repr(seed).encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56
