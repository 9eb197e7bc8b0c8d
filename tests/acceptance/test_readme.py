"""The README and the pages of `docs/` are true: their code is written into an empty folder and run, in order.

```python     a file; its first line says which
```console    commands, and what they print; `...` stands for anything. `headrace up` runs on until the page ends
```sh, text   to be read only; the README has none of the former

`3f9a` stands for the last run, the ports 5555 and 5556 for two free ones.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADRACE = str(Path(sys.executable).with_name("headrace"))
PATIENCE = 120
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "console", "text", "sh", "toml", "mermaid"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = [page for page in PAGES if re.search(r"^```(python|console)$", page.read_text("utf-8"), re.MULTILINE)]
ELSEWHERE = {"pip install ."}
"""Not run here: whoever runs these tests has installed Headrace, and they use what is installed."""


@dataclass
class Command:
    line: str
    expected: str


def commands(block: str) -> list[Command]:
    """Lines after `$ `, each with what follows it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == "", "a console block begins with a command"
    return [Command(line, expected) for line, expected in zip(parts[1::2], parts[2::2], strict=True)]


def matches(expected: str, shown: str) -> bool:
    """Line by line, blanks at line ends aside; `...` is any text, also over several lines."""
    pattern = ".*?".join(re.escape(part) for part in expected.rstrip().split("..."))
    return (
        re.fullmatch(pattern, "\n".join(line.rstrip() for line in shown.rstrip().splitlines()), re.DOTALL) is not None
    )


def _reserved(stack: ExitStack) -> int:
    """A port that nobody else is given meanwhile: what is bound and does not listen keeps others away, and lets a
    daemon in that reuses addresses. Elsewhere than on Linux it would not."""
    probe = stack.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    if sys.platform != "linux":
        probe.close()
    return port


class Reader:
    """Somebody who reads a page and does what it says."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._ports = {name: str(_reserved(stack)) for name in ("5555", "5556")}
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self.environment |= {
            "HEADRACE_API": f"tcp://127.0.0.1:{self._ports['5555']}",
            "HEADRACE_BROADCAST": f"tcp://127.0.0.1:{self._ports['5556']}",
            "HEADRACE_PROCESSES": "2",
            "HEADRACE_ANSWER_TIMEOUT": f"{PATIENCE}",
            "XDG_DATA_HOME": str(folder / "user data"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def own(self, text: str) -> str:
        return re.sub("5555|5556", lambda port: self._ports[port[0]], text)

    def read(self, page: str) -> None:
        for language, block in BLOCK.findall(page):
            assert language in LANGUAGES, f"a block of {language!r}"
            if language == "python":
                self._write(block)
            elif language == "console":
                for command in commands(block):
                    self._do(command)

    def _write(self, block: str) -> None:
        name = re.match(r"# ([\w/]+\.py)\n", block)
        assert name is not None, f"a block of Python says first what file it is: {block[:60]!r}"
        file = self.folder / name[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(self.own(block), encoding="utf-8")

    def _do(self, command: Command) -> None:
        program, *arguments = shlex.split(command.line)
        if command.line in ELSEWHERE:
            return
        if program == "make":
            self._run(["make", "--dry-run", "-C", str(ROOT), *arguments])
        elif command.line.startswith("headrace up"):
            self._stack.enter_context(self._running(command))
        else:
            arguments = [self._last_run() if argument == "3f9a" else argument for argument in arguments]
            shown = self._run([{"python": sys.executable, "headrace": HEADRACE}.get(program, program), *arguments])
            assert matches(self.own(command.expected), shown), f"$ {command.line}\n{shown}"

    def _run(self, line: list[str]) -> str:
        done = subprocess.run(
            line, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def _last_run(self) -> str:
        runs = json.loads(self._run([HEADRACE, "list", "--json"]))["runs"]
        return str(runs[0]["id"][:8])

    @contextmanager
    def _running(self, command: Command) -> Iterator[None]:
        """`headrace up` in another terminal, from its last expected line on; Ctrl-C ends it."""
        process = subprocess.Popen(
            [HEADRACE, *shlex.split(self.own(command.line))[1:]],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        shown: list[str] = []
        ready = threading.Event()
        threading.Thread(target=_listen, args=(process, shown, ready), daemon=True).start()
        try:
            assert ready.wait(PATIENCE), shown
            assert matches(self.own(command.expected), "".join(shown)), shown
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0, shown
        finally:
            process.kill()
            process.wait()


def _listen(process: subprocess.Popen[str], shown: list[str], ready: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if not ready.is_set():
            shown.append(line)
        if line.startswith("ready: "):
            ready.set()
    ready.set()


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_happens(page: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        Reader(tmp_path, stack).read(page.read_text("utf-8"))


def test_the_readme_is_among_the_pages_that_run() -> None:
    assert PAGES[0] in RUNNABLE
    assert {language for language, _ in BLOCK.findall(PAGES[0].read_text("utf-8"))} == {"python", "console", "text"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("http"):
            file, _, heading = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not heading or heading in anchors(target), f"{page.name} links to {link}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_expected_output_is_compared_with_what_is_shown() -> None:
    assert matches("a ... c\n", "a b c\n")
    assert matches("a\n...\nd", "a\nb\nc\nd\n")
    assert not matches("a", "ab")
    assert not matches("a ... d", "a b c")
