"""A run as its facts tell it: the state of every job, and who tried it when, where and with what end.

States are judged by `progress`, in the same way as the Pipeliner judges them; what is queued or running at this
moment is no fact and comes from the Router.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...pipeline.definition import Definition
    from ...pipeline.facts import Fact, Returned
    from .asking import Cluster

ENDED = frozenset({"success", "failed", "cancelled"})
OPEN = frozenset({"waiting", "queued", "running"})
MAX_BRANCHES = 1000
"""Instances of one job whose attempts are kept one by one; of more there are only counts."""


@dataclass
class Attempt:
    path: tuple[int, ...]
    attempt: int
    round: int
    kind: str
    started: float
    duration: float
    place: str
    reason: str = ""
    log: tuple[str, int, int] | None = None
    cache: str = ""
    """What came of its look into the cache: hit, miss, refused or damaged."""
    code: str = ""
    """A digest of the worker's code that ran."""


@dataclass
class JobHistory:
    """What is known of one job, over all its branches."""

    name: str
    worker: str = ""
    state: str = "waiting"
    hook: bool = False
    instances: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    cached: int = 0
    """How many of these attempts have an earlier result."""
    started: float | None = None
    duration: float = 0.0
    place: str = ""
    code: str = ""
    """Of the attempt that ended last."""
    reason: str = ""
    tries: list[Attempt] = field(default_factory=list)

    def add(self, fact: Returned) -> None:
        self.attempts += 1
        self.cached += fact.cache is not None and fact.cache.kind == "hit"
        if fact.started:
            self.started = min(self.started or fact.started, fact.started)
        self.duration += fact.duration
        self.place = fact.place or self.place
        self.code = fact.code or self.code
        if len(self.tries) < MAX_BRANCHES:
            self.tries.append(_attempt(fact))

    @property
    def last_reason(self) -> str:
        return next((one.reason for one in reversed(self.tries) if one.reason), "")


class History:
    def __init__(self, definition: Definition, run: str) -> None:
        from ...pipeline.progress import Progress

        self.progress = Progress(definition, run)
        self.last = 0
        self._jobs: dict[str, JobHistory] = {}

    def apply(self, facts: Iterable[tuple[int, Fact]]) -> None:
        from ...pipeline.facts import Returned

        for sequence, fact in facts:
            self.progress.apply(sequence, fact)  # type: ignore[arg-type]  # the facts of a run are RunFacts
            self.last = sequence
            if isinstance(fact, Returned):
                self._of(fact.job).add(fact)

    def _of(self, job: str) -> JobHistory:
        return self._jobs.setdefault(job, JobHistory(job))

    def judge(self, told: Mapping[str, Any]) -> list[JobHistory]:
        """The jobs with their states. `told` is what the Router said of the run, before the facts were read:
        what has ended since then, the facts know better."""
        jobs = []
        for detail in self.progress.job_details():
            one = self._of(detail.name)
            one.worker, one.state, one.hook = detail.worker, detail.state, detail.hook
            one.instances = detail.instances
            one.reason = detail.reason or one.last_reason
            jobs.append(one)
        for job, _, why in told.get("queued", ()):
            one = self._of(job)
            if one.state in OPEN:
                one.state, one.reason = "queued", why or one.reason
        for job, path, _, place, _, *progress in told.get("running", ()):
            one = self._of(job)
            if one.state in OPEN:
                said = _how_far(job, path, *progress)
                one.state, one.place, one.reason = "running", place, said.told if said else one.reason
        return jobs


@dataclass(frozen=True)
class HowFar:
    """What a running job has said last of how far it is."""

    name: str
    done: float
    total: float | None
    message: str

    @property
    def told(self) -> str:
        part = f"{self.done:g}" if self.total is None else f"{self.done:g} of {self.total:g}"
        return f"{part}: {self.message}" if self.message else part


def _how_far(job: str, path: Iterable[int], progress: list[Any] | None = None) -> HowFar | None:
    if not progress:
        return None
    done, total, message = progress
    return HowFar(f"{job}{list(path) or ''}", done, total, message)


class Look:
    """A run as it is now; looking again reads only what is new."""

    def __init__(self, cluster: Cluster, run: str) -> None:
        self.cluster = cluster
        self.run = run
        self.told: dict[str, Any] = {}
        self.history = History(cluster.definition(run), run)
        self.again()

    def again(self) -> None:
        self.told = self.cluster.ask("run", self.run)
        self.history.apply(self.cluster.facts(self.run, self.history.last))

    def jobs(self) -> list[JobHistory]:
        return self.history.judge(self.told)

    @property
    def state(self) -> str:
        return str(self.told["state"])

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def counts(self) -> dict[str, int]:
        """How many instances are in which state. The facts call queued whatever may run; the Router knows what does."""
        found = Counter(self.history.progress.counts())
        running = min(len(self.told.get("running", ())), found["queued"])
        found["queued"] -= running
        found["running"] += running
        return {state: number for state, number in found.items() if number}

    def progress(self) -> list[HowFar]:
        """What running jobs say of how far they are."""
        said = [_how_far(job, path, *progress) for job, path, _, _, _, *progress in self.told.get("running", ())]
        return [one for one in said if one is not None]

    def as_dict(self) -> dict[str, Any]:
        jobs = [asdict(one) for one in self.jobs()]
        return {**self.told, "paused": bool(self.told.get("paused")), "error": error_map(self.told), "jobs": jobs}


def error_map(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first failure of a run, with names."""
    error = told.get("error")
    return dict(zip(("job", "path", "reason", "traceback", "kind"), error, strict=False)) if error else None


def _attempt(fact: Returned) -> Attempt:
    path = tuple(fact.path)
    end = (fact.kind, fact.started, fact.duration, fact.place, reason(fact), fact.log)
    return Attempt(path, fact.attempt, fact.round, *end, "" if fact.cache is None else fact.cache.kind, fact.code)


def reason(fact: Returned) -> str:
    """Why an attempt ended badly, on one line."""
    if fact.kind == "success":
        return ""
    if fact.error is None:
        return fact.kind
    text = f"{fact.error.type}: {fact.error.message}" if fact.error.type else fact.error.message
    return text.strip().splitlines()[0] if text.strip() else fact.kind
