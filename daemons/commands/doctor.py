"""`headrace doctor`: is this machine fit, is the cluster there, is a journal whole?"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from ...pipeline.errors import HeadraceError
from .. import config
from ..config import ClientConfig, RouterConfig
from ..folders import data_folder
from .configuration import stray_variables
from .connecting import connect
from .exits import FAILED, OK
from .options import chosen, command, json_option, settings
from .printing import print_json, print_table, size

LIBRARIES = ("pyzmq", "msgspec", "msgpack", "click", "psutil", "rich")
OPEN_FILES = 1024
FREE = 1 << 30
SLOW_SYNC = 0.05


@dataclass(frozen=True)
class Finding:
    what: str
    grade: Literal["ok", "warning", "problem"]
    text: str


@command(
    "doctor",
    "headrace doctor",
    "headrace doctor --json",
    "headrace doctor --journal /data/headrace/5555",
    "headrace doctor --journal /data/headrace/5555 --repair",
)
@click.option("--journal", metavar="PATH", help="check this journal instead, from end to end")
@click.option("--repair", is_flag=True, help="with --journal: repair it, and keep the damaged one beside it")
@json_option
@settings(ClientConfig)
def doctor_command(journal: str | None, repair: bool, as_json: bool, **given: Any) -> int:
    """Check this machine, the settings and the cluster.

    With --journal every row of a journal is checked instead; nothing is changed. With --repair too, a damaged journal
    is replaced by what can be saved of it, while no Router runs: runs stand where their last good fact leaves them, and
    what they have lost is done again. The damaged journal is kept in a folder beside it.
    """
    if repair and not journal:
        raise click.UsageError("--repair needs --journal PATH: the data folder of the Router")
    if journal:
        findings = list(_repair(Path(journal)) if repair else _journal(Path(journal)))
    else:
        findings = list(_machine(given))
    if as_json:
        print_json("report", {"findings": [vars(finding) for finding in findings]})
    else:
        print_table(["check", "", "finding"], [[one.what, one.grade, one.text] for one in findings])
    return FAILED if any(one.grade == "problem" for one in findings) else OK


def _machine(given: Mapping[str, object]) -> Iterator[Finding]:
    yield _python()
    for library in LIBRARIES:
        yield _library(library)
    yield from _settings()
    yield from _data_folder()
    yield _open_files()
    yield _graphviz()
    yield _cluster(given)


def _python() -> Finding:
    fit = sys.version_info >= (3, 11) and sys.platform != "win32"
    text = f"{sys.version.split()[0]} on {sys.platform}"
    return Finding("Python", "ok" if fit else "problem", text if fit else f"{text}: 3.11 on Linux or macOS is needed")


def _library(name: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "problem", f"is not installed; `pip install {name}`")


def _settings() -> Iterator[Finding]:
    try:
        for section in config.SECTIONS:
            config.load(section)
        file = config.find_file(os.environ, Path.cwd())
        yield Finding("settings", "ok", f"from {file}" if file else "no headrace.toml in this folder")
    except HeadraceError as error:
        yield Finding("settings", "problem", str(error))
    for name, meant in stray_variables():
        yield Finding("environment", "warning", f"{name} is no setting; {meant} is one")


def _data_folder() -> Iterator[Finding]:
    try:
        made = chosen(RouterConfig, {})
    except HeadraceError:
        return  # the settings have been reported already
    folder = data_folder(made.data, made.api)
    above = next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))
    if not os.access(above, os.W_OK):
        yield Finding("data folder", "problem", f"{folder}: {above} is not writable; give another one with --data")
        return
    free = shutil.disk_usage(above).free
    grade: Literal["ok", "warning"] = "ok" if free >= FREE else "warning"
    yield Finding("data folder", grade, f"{folder}, {size(free)} free")
    yield _sync(above)


def _sync(folder: Path) -> Finding:
    """What a commit waits for: a slow disk makes everything slow that is durable."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            seconds = time.perf_counter() - began
    except OSError as error:
        return Finding("fsync", "problem", f"{folder}: {error.strerror or error}")
    return Finding("fsync", "ok" if seconds < SLOW_SYNC else "warning", f"{seconds * 1000:.1f} ms in {folder}")


def _open_files() -> Finding:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("open files", "ok", "unlimited")
    if soft < OPEN_FILES:
        return Finding("open files", "warning", f"{soft}; `ulimit -n {OPEN_FILES}` is better")
    return Finding("open files", "ok", str(soft))


def _graphviz() -> Finding:
    found = shutil.which("dot")
    return Finding("graphviz", "ok", found or "not installed; only drawings need it")


def _cluster(given: Mapping[str, object]) -> Finding:
    api = chosen(ClientConfig, given).api
    try:
        with connect(given) as cluster:
            status = cluster.cluster()
    except HeadraceError as error:
        return Finding("cluster", "warning", str(error))
    numbers = f"{len(status['brokers'])} Broker(s), {len(status['pipeliners'])} Pipeliner(s)"
    whole = status["brokers"] and status["pipeliners"]
    return Finding("cluster", "ok" if whole else "warning", f"{api}: {numbers}")


def _journal(path: Path) -> Iterator[Finding]:
    from ..journal.checkup import verify

    report = verify(path)
    for problem in report.problems:
        yield Finding("journal", "problem", problem)
    if report.more:
        yield Finding("journal", "problem", f"and {report.more} more")
    head = str(report).splitlines()[0]
    yield Finding("journal", "ok" if report.ok else "warning", head)
    if report.problems and report.facts:
        repairs = f"headrace doctor --journal {shlex.quote(str(path))} --repair"
        yield Finding("repair", "warning", f"stop the Router, then `{repairs}` saves what can be saved")


def _repair(path: Path) -> Iterator[Finding]:
    from ..journal.mending import mend

    for line in str(mend(path)).splitlines():
        yield Finding("repair", "ok", line)
    yield from _journal(path)
