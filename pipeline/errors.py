"""Every exception that Headrace raises.

    HeadraceError
    ├── UserError                 the caller's own input is wrong
    │   ├── DefinitionError       a pipeline that cannot be (also a ValueError)
    │   │   ├── AlfscriptError    an Alfred script that cannot be read (headrace.alfscript)
    │   │   ├── JobMapError       a job map that cannot be run, with all its problems (headrace.jobmap)
    │   │   └── NameTwice         two steps of one name (also an AssertionError)
    │   ├── ValueNotSupported     a value of a type that cannot travel (also a TypeError)
    │   │   └── CannotStore       a value of a type that no Context stores
    │   │       ├── CannotStoreInList  the same in a list (also an AssertionError)
    │   │       └── KeyIsNoText   a key that is no text (also a NotImplementedError)
    │   ├── ConfigError           a setting, a module or a class that cannot be used
    │   │   └── NoProtocol        a saver or loader that is for no protocol (also an AssertionError)
    │   └── NotFound              no such run, job or worker
    │       └── UnknownProtocol   no saver, or no loader, for a protocol (also a KeyError)
    ├── JobError                  what a job can die of, seen from inside a worker
    │   ├── MissingInput          a required key is nowhere upstream
    │   ├── StoreError            the store failed, not the job
    │   │   └── Superseded        a newer attempt has already saved
    │   ├── JobTimeout            the job's time is over
    │   ├── JobCancelled          somebody cancelled the job
    │   ├── RetryAfter            the job asks for another try later (raised by workers)
    │   ├── InvalidAnswer         a worker has answered what cannot be
    │   ├── CommandFailed         a command has ended with a bad exit code
    │   ├── StepFailed            a step has failed in another process (headrace.steps)
    │   └── JobMapFailed          a run of a job map did not succeed (headrace.jobmap)
    ├── ClusterError              the other side
    │   ├── Unreachable           no answer before the deadline
    │   ├── Refused               an answer that says no, with its reason
    │   └── Busy                  an answer that says later
    ├── ProtocolError             a peer broke the protocol
    └── JournalError
        ├── JournalDamaged        rows are missing or wrong: repair before going on
        └── JournalLocked         another Router has the data folder

Ids are attributes; the text is made here, so that the same fault reads the same everywhere.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """The root of the tree."""


class UserError(HeadraceError):
    """The caller's own input is wrong."""


class DefinitionError(UserError, ValueError):
    """A pipeline, a job or an option that cannot be."""


class ValueNotSupported(UserError, TypeError):
    """A value of a type that cannot travel."""

    def __init__(self, where: str, type_name: str, hint: str = "") -> None:
        self.where = where
        self.type_name = type_name
        text = f"{where}: a value of type {type_name} cannot travel between processes"
        super().__init__(f"{text}; {hint}" if hint else text)


class ConfigError(UserError):
    """A setting, a module or a class that cannot be used."""


class NotFound(UserError, LookupError):
    """No such run, job or worker."""

    def __init__(self, what: str, name: str, hint: str = "") -> None:
        self.what = what
        self.name = name
        self.hint = hint
        text = f"there is no {what} {name!r}"
        super().__init__(f"{text}; {hint}" if hint else text)


class JobError(HeadraceError):
    """What a job can die of, seen from inside a worker."""


class MissingInput(JobError, KeyError):
    """A required key is nowhere upstream."""

    def __init__(self, key: str, worker: str, looked_in: str) -> None:
        self.key = key
        self.worker = worker
        self.looked_in = looked_in
        super().__init__(f"worker {worker!r} requires {key!r}, which is not in {looked_in}")

    def __str__(self) -> str:
        return str(self.args[0])


class StoreError(JobError):
    """The store failed, not the job."""

    def __init__(self, store: str, operation: str, reason: str) -> None:
        self.store = store
        self.operation = operation
        super().__init__(f"store {store} failed to {operation}: {reason}")


class Superseded(StoreError):
    """A newer attempt of the same job has already saved."""

    def __init__(self, store: str, fence: str, newer: str) -> None:
        self.fence = fence
        self.newer = newer
        super().__init__(store, "save", f"fence {fence} is older than {newer}, which has saved already")


class JobTimeout(JobError):
    """The job's time is over."""


class JobCancelled(JobError):
    """Somebody cancelled the job."""


class ClusterError(HeadraceError):
    """The other side."""


class Unreachable(ClusterError):
    """No answer before the deadline."""

    def __init__(self, address: str, seconds: float) -> None:
        self.address = address
        self.seconds = seconds
        super().__init__(
            f"no Router answered at {address} within {seconds:g} s: "
            "is the address right, and is a Router running there (`headrace up`)?"
        )


class Refused(ClusterError):
    """The Router said no."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Busy(ClusterError):
    """The Router said later."""

    def __init__(self, reason: str, retry_after: float) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(f"busy ({reason}), retry after {retry_after:g} s")


class ProtocolError(HeadraceError):
    """A peer broke the protocol."""


class JournalError(HeadraceError):
    """The journal cannot be used."""


class JournalDamaged(JournalError):
    """Rows are missing or wrong."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(
            f"the journal {path} is damaged: {what}; nothing was changed. Restore a copy, or look at it with "
            f"`headrace doctor --journal {path}` and save what can be saved with `--repair`"
        )


class JournalLocked(JournalError):
    """Another Router has the data folder."""

    def __init__(self, folder: str, pid: int | None) -> None:
        self.folder = folder
        self.pid = pid
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"the data folder {folder} is in use by {owner}; stop it or give another folder with --data")
