"""Bad disks: full and freed; writes and syncs that fail, or at which the Router is killed; a log whose end is torn."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from campaign import Campaign
from plant import Plant, children, send, until

SIZE = 512
"""Megabytes of the small disk: room for what the load of 200 blows leaves behind."""
NEARLY = 16 << 20
"""Bytes that are left when the disk begins to fill up."""
BLOCK = b"\0" * 65536
STRACE = ("strace", "--seccomp-bpf", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync,pwrite64")
INJECTIONS = (
    "fsync,fdatasync:error=EIO:when={n}",
    "pwrite64:error=EIO:when={n}",
    "pwrite64:error=ENOSPC:when={n}..{m}",
    "pwrite64:error=EDQUOT:when={n}..{m}",
    "fdatasync:signal=SIGKILL:when={n}",
    "pwrite64:signal=SIGKILL:when={n}",
)
UNDER_STRACE = 4.0
"""Seconds that a Router gets to reach its failing call."""


# Full ---------------------------------------------------------------------------------------------------------------


def no_small_disk() -> str:
    """Why there is none; "" when there is."""
    if os.geteuid():
        return "a small disk is a tmpfs, and only root may mount one"
    return "" if shutil.which("mount") else "there is no mount command"


@contextmanager
def on_a_small_disk(folder: Path) -> Iterator[Plant]:
    disk = folder / "disk"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(disk)], check=True)
    try:
        with Plant(folder, disk / "data") as plant:
            plant.may_end.add("router")  # one that was just starting: without room it cannot
            plant.staff()
            yield plant
            shutil.copytree(plant.data, folder / "data")
            plant.data = folder / "data"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(plant: Plant, random: random.Random) -> None:
    """To the last byte, for a while; in one of five cases the Router is killed meanwhile."""
    ballast = plant.data.parent / "ballast"
    end = time.monotonic() + random.uniform(0.3, 4.0)
    killed = random.random() < 0.2
    with ballast.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(ballast.parent).free - NEARLY))
        file.seek(0, os.SEEK_END)
        while time.monotonic() < end:
            try:
                file.write(BLOCK)
            except OSError:
                time.sleep(0.02)
    if killed:
        plant.kill("router")
    ballast.unlink()
    if killed:
        plant.start("router")


def stalls(plant: Plant) -> Mapping[str, Any]:
    return {"stalls": plant.log("router").count("the disk takes no facts")}


# Failing ------------------------------------------------------------------------------------------------------------


def no_strace() -> str:
    if not shutil.which("strace"):
        return "calls are made to fail by strace, which is not installed"
    probe = subprocess.run([*STRACE, "true"], capture_output=True, text=True, check=False)
    return "" if probe.returncode == 0 else f"strace may not trace here: {probe.stderr.strip()[:100]}"


def fail_a_call(plant: Plant, random: random.Random) -> None:
    """The Router under strace: its nth write or sync fails, or is the moment of its death."""
    first = random.randint(1, 120)
    injection = random.choice(INJECTIONS).format(n=first, m=first + random.randint(1, 20))
    plant.kill("router")
    plant.start("router", *STRACE, "-e", f"inject={injection}")
    process = plant.processes.pop("router")
    try:
        process.wait(UNDER_STRACE)
    except subprocess.TimeoutExpired:
        until(lambda: _ended_below(process), "strace and its Router have ended")
    plant.start("router")


def _ended_below(tracer: subprocess.Popen[bytes]) -> bool:
    """Kill what it traces, which it may only just have started: its own death would set the Router free."""
    if tracer.poll() is not None:
        return True
    for child in children(tracer.pid):
        send(child.pid, signal.SIGKILL)
    return False


# Torn ---------------------------------------------------------------------------------------------------------------


def tear(plant: Plant, random: random.Random) -> None:
    """What a crash leaves behind the last commit: a part of a frame, of this log or of none."""
    plant.kill("router")
    log = plant.data / "journal.db-wal"
    if log.exists():
        with log.open("r+b") as file:
            header = file.read(32)
            file.seek(0, os.SEEK_END)
            torn = random.randbytes(8) + header[16:24] + random.randbytes(random.randint(0, 9000))
            file.write(torn if random.random() < 0.7 else random.randbytes(random.randint(1, 9000)))
    plant.start("router")


CAMPAIGNS = (
    Campaign("disk full", fill, pause=(0.3, 1.5), site=on_a_small_disk, judge=stalls, missing=no_small_disk),
    Campaign("write or sync fails", fail_a_call, pause=(0.3, 1.5), missing=no_strace),
    Campaign("log torn", tear, pause=(0.3, 3.0)),
)
