"""Arrows between the folders point one way. This reads the imports and fails on one that is not on the map."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("pipeline", "daemons", "stores", "workers")

MAY_IMPORT = {
    "pipeline": {"pipeline"},
    "stores": {"stores", "pipeline"},
    "workers": {"workers", "stores", "pipeline"},
    "daemons": {"daemons", "pipeline", "workers", "stores"},
}
LATE = {
    ("pipeline/manager.py", "daemons"): "the client's face: it is what talks to a Router",
    ("pipeline/local.py", "workers"): "the local engine runs workers in this process",
    ("pipeline/local.py", "stores"): "the local engine has a default store",
}
NO_USER_CODE = (
    "daemons/router.py",
    "daemons/pipeliner.py",
    "daemons/charges.py",
    "daemons/dispatch",
    "daemons/journal",
)
VALUES = "daemons/dispatch/values.py"
"""It knows the folder of the values store, no user's class."""
ONLY_IN = {
    "zmq": {
        "daemons/loop.py", "daemons/router.py", "daemons/pipeliner.py", "daemons/broker.py",
        "daemons/dispatch/routes.py", "daemons/dispatch/events.py",
        "daemons/client/blocking.py", "daemons/client/asynchronous.py", "daemons/client/wire.py",
    },
    "pymongo": {"stores/mongo.py"},
    "click": {"daemons/cli.py", "daemons/commands", "daemons/console.py"},
    "rich": {"daemons/cli.py", "daemons/commands", "daemons/console.py"},
    "psutil": {"daemons/monitoring.py", "workers/trees.py", "workers/warden.py", "daemons/commands"},
}  # fmt: skip
PURE = ("daemons/dispatch", "daemons/slots", "daemons/charges.py", "daemons/session.py", "daemons/protocol.py")
LOOPS = {
    "daemons/dispatch/routes.py", "daemons/dispatch/events.py", "daemons/dispatch/answers.py",
    "daemons/slots/observer.py", "daemons/slots/outfit.py", "daemons/slots/residence.py",
}  # fmt: skip
"""What lives beside a machine, and is its loop's."""
IMPURE = {"zmq", "socket", "threading", "subprocess", "time", "random", "os", "select", "asyncio"}


def sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def below(places: tuple[str, ...]) -> list[str]:
    """The files at these places, folders opened."""
    found = [
        path for place in places for path in ((ROOT / place).rglob("*.py") if "." not in place else [ROOT / place])
    ]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(what is imported: a folder of ours or a top-level package; whether at the top of the file)."""
    tree = ast.parse(path.read_text())
    depth = len(path.relative_to(ROOT).parts) - 1
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level == 0:
                found.append((module[0], id(node) in top))
            elif node.level > depth:
                found += [
                    (name, id(node) in top) for name in (module if module[0] else [a.name for a in node.names])[:1]
                ]
            else:
                found.append((path.relative_to(ROOT).parts[0], id(node) in top))
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_is_on_the_map(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    folder = path.relative_to(ROOT).parts[0]
    for imported, _ in imports(path):
        if imported in FOLDERS and imported not in MAY_IMPORT[folder]:
            assert (name, imported) in LATE, f"{name} imports {imported}/, which is not on the map"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_third_party_packages_stay_where_they_belong(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for imported, _ in imports(path):
        if imported in ONLY_IN:
            allowed = ONLY_IN[imported]
            assert name in allowed or str(Path(name).parent) in allowed, f"{name} imports {imported}"


@pytest.mark.parametrize("name", below(NO_USER_CODE))
def test_router_and_pipeliner_never_import_stores_or_workers(name: str) -> None:
    for imported, _ in imports(ROOT / name):
        assert imported != "workers" and (imported != "stores" or name == VALUES), f"{name} imports {imported}/"


@pytest.mark.parametrize("name", [name for name in below(PURE) if name not in LOOPS])
def test_machines_do_no_input_or_output(name: str) -> None:
    for imported, _ in imports(ROOT / name):
        assert imported not in IMPURE, f"{name} imports {imported}"


def test_the_face_loads_neither_zmq_nor_anything_else_that_is_heavy() -> None:
    import subprocess
    import sys

    heavy = "('zmq', 'pymongo', 'click', 'rich', 'psutil', 'msgspec', 'sqlite3', 'asyncio')"
    code = f"import headrace, sys; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert shown.stdout.strip() == "[]"
