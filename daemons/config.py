"""The settings of daemons and clients: one frozen dataclass per daemon.

A field is all there is to say about a setting. From `log_level` derive the flag `--log-level`, the environment name
`HEADRACE_LOG_LEVEL` and the key `log-level` of `headrace.toml`. The nearest source counts:

    flags  >  environment  >  headrace.toml, its [daemon] table  >  headrace.toml, its top  >  defaults

`headrace.toml` is read from the current folder and nowhere else, as `workers` is: what a folder does depends on what
is in it. `HEADRACE_CONFIG` names another file. Durations are seconds; as text they may have a unit (`30d`, `500ms`).
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ..pipeline.errors import ConfigError
from ..workers.cache.place import LARGEST, LONGEST
from ..workers.shortening import LIMIT
from .settings import (
    Setting,
    address,
    count,
    flag,
    json_map,
    level,
    names,
    offers,
    path,
    seconds,
    setting,
    size,
    slots,
    text,
)

FILE_NAME = "headrace.toml"
PREFIX = "HEADRACE_"
FILE_VARIABLE = "HEADRACE_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the Router is."""

    api: str = setting("tcp://127.0.0.1:5555", address, "address of the Router's api")
    broadcast: str = setting("tcp://127.0.0.1:5556", address, "address of the Router's broadcast")


@dataclass(frozen=True, kw_only=True)
class DaemonConfig(Addresses):
    """What all daemons have in common."""

    log_level: str = setting("info", level, "debug, info, warning or error", metavar="LEVEL")
    log_json: bool = setting(False, flag, "write log lines as JSON")


@dataclass(frozen=True, kw_only=True)
class RouterConfig(DaemonConfig):
    section: ClassVar[str] = "router"

    data: str | None = setting(None, path, "data folder; by default below your user data, by api port", metavar="DIR")
    insecure: bool = setting(False, flag, "let any host connect, unencrypted and unchecked")
    monitoring_interval: float = setting(60.0, seconds, "seconds between the monitoring records of a Broker")
    limits: Mapping[str, int] = setting({}, slots, "cluster-wide limits, as licence:2,gpu:4", metavar="NAME:N,...")
    store_config: Mapping[str, Any] = setting(
        {}, json_map, "keyword arguments of the StoreClass, as a JSON map", metavar="JSON", secret=True
    )
    keep: float = setting(30 * 86400.0, seconds, "how long finished runs stay readable; 0 is for ever")


@dataclass(frozen=True, kw_only=True)
class BrokerConfig(DaemonConfig):
    section: ClassVar[str] = "broker"

    data: str | None = setting(None, path, "folder for the output of workers; by default the Router's", metavar="DIR")
    workers: tuple[str, ...] = setting(("workers",), names, "modules that hold the workers", metavar="MODULE,...")
    store: str | None = setting(None, text, "the StoreClass; by default no store is needed", metavar="MODULE:CLASS")
    processes: int | None = setting(None, count, "worker processes; by default one per core", metavar="N")
    roles: Mapping[str, int] = setting({}, slots, "slots per role; by default every role", metavar="ROLE:N,...")
    resources: Mapping[str, float | tuple[str, ...]] = setting(
        {}, offers, "what jobs may ask for, as memory:64,gpu:2, or with named units as gpu:0+3", metavar="NAME:N,..."
    )
    grace: float = setting(20.0, seconds, "how long running jobs may go on after a stop")
    cache: str | None = setting(
        None, path, "folder of the content cache; by default beside the Router's values", metavar="DIR"
    )
    cache_size: int = setting(LARGEST, size, "bytes that the content cache keeps, as 500MB or 10GiB")
    cache_keep: float = setting(LONGEST, seconds, "how long it keeps what is not used")
    reload: bool = setting(False, flag, "watch the files of the workers, and run new jobs with what has changed")
    output_limit: int = setting(LIMIT, size, "bytes that are kept of one attempt's output: its beginning and end")
    output_keep: float = setting(30 * 86400.0, seconds, "how long output folders of former Brokers stay; 0 is for ever")
    insecure: bool = setting(False, flag, "talk to a Router on another host, unencrypted and unchecked")


@dataclass(frozen=True, kw_only=True)
class PipelinerConfig(DaemonConfig):
    section: ClassVar[str] = "pipeliner"


@dataclass(frozen=True, kw_only=True)
class ClientConfig(Addresses):
    section: ClassVar[str] = "client"

    answer_timeout: float = setting(10.0, seconds, "how long the Router may take to answer", metavar="SECONDS")


@dataclass(frozen=True, kw_only=True)
class UpConfig:
    """What only `headrace up` has to know; the rest belongs to the daemons that it starts."""

    section: ClassVar[str] = "up"

    brokers: int = setting(1, count, "Brokers to start", metavar="N")
    pipeliners: int = setting(1, count, "Pipeliners to start", metavar="N")


SECTIONS: tuple[type[Any], ...] = (RouterConfig, BrokerConfig, PipelinerConfig, ClientConfig, UpConfig)
C = TypeVar("C")


@dataclass(frozen=True)
class Loaded(Generic[C]):
    """A configuration, and where each of its values came from."""

    config: C
    origins: dict[str, str]


def fields_of(section: type[Any]) -> list[Setting]:
    return [Setting.of(field) for field in dataclasses.fields(section)]


def variable(field: str) -> str:
    return PREFIX + field.upper()


def load(
    section: type[C],
    given: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Loaded[C]:
    """Put a configuration together; `given` are flags, where None means: not given."""
    environ = os.environ if environ is None else environ
    file = find_file(environ, folder or Path.cwd())
    tables = read_file(file) if file else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for one in fields_of(section):
        raw, origin = _nearest(one, section, given or {}, environ, tables, file)
        origins[one.name] = origin
        if raw is not None:
            values[one.name] = one.parse(raw, origin)
    return Loaded(section(**values), origins)


def _nearest(
    one: Setting,
    section: type[Any],
    given: Mapping[str, object],
    environ: Mapping[str, str],
    tables: Mapping[str, Any],
    file: Path | None,
) -> tuple[object, str]:
    if given.get(one.name) is not None:
        return given[one.name], f"flag --{one.key}"
    if environ.get(variable(one.name)):
        return environ[variable(one.name)], f"environment {variable(one.name)}"
    table = tables.get(section.section, {})
    if one.key in table:
        return table[one.key], f"{file} [{section.section}]"
    if one.key in tables:
        return tables[one.key], f"{file}"
    return None, "default"


def find_file(environ: Mapping[str, str], folder: Path) -> Path | None:
    named = environ.get(FILE_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{FILE_VARIABLE} names {named}, and there is no such file")
        return Path(named)
    file = folder / FILE_NAME
    return file if file.is_file() else None


def read_file(file: Path) -> dict[str, Any]:
    """The content of a `headrace.toml`, after every name in it has been checked."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    tables = {section.section: section for section in SECTIONS}
    known = {one.key for section in SECTIONS for one in fields_of(section)}
    _check_names(content, known | tables.keys(), str(file))
    for name in content.keys() & tables.keys():
        if not isinstance(content[name], dict):
            raise ConfigError(f"{file}: {name!r} is a table, so write [{name}]; got {content[name]!r}")
        _check_names(content[name], {one.key for one in fields_of(tables[name])}, f"{file} [{name}]")
    return content


def _check_names(found: Iterable[str], known: Iterable[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise ConfigError(f"{where}: there is no setting {name!r}{nearest_name(name, known)}")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    close = close_name(name, known)
    return f"; did you mean {close!r}?" if close else f"; known are {', '.join(sorted(known))}"


def close_name(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower().replace("_", "-"), sorted(known), n=1)), None)
