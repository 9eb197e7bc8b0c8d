"""Large values: a folder in which every attempt writes its own file, once.

A value is the file `<run>/<job>/<path>/<lease>`. Its name below the folder is its reference, which travels instead of
it. Nobody ever changes a file: it is written under another name, synced, renamed, and its folders are synced before
`write` returns, so that a reference never names something that a power cut can take away. Runs never share files:
removing a run's folder takes nothing from another.

The folder has an id, made once: two machines that see the same id see the same folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote
from uuid import uuid4

from ..pipeline.errors import ConfigError, NotFound
from .disk import filename, locked, replace, sync_folder, write_synced

ID_FILE = "values.id"
_ROOT_PATH = "-"
_KNOWN = 10_000


class ValuesFolder:
    """The values under one folder, which is made when it is missing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._synced: set[Path] = set()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.id = self._read_id() or self._make_id()
        except OSError as error:
            raise ConfigError(f"the values folder {self.path} cannot be used: {error}") from error

    def write(
        self, run: str, job: str, path: tuple[int, ...], lease: int, data: bytes, source: Path | None = None
    ) -> str:
        """Keep the value; the answer is its reference. Writing the same one again is harmless.

        `source`: a file with the same content, synced, which nobody ever changes. It is linked where that can be.
        """
        parts = (filename(run), filename(job), filename(".".join(map(str, path))) if path else _ROOT_PATH)
        folder = self.path.joinpath(*parts)
        name = f"{lease:016x}"
        temporary = folder / f".{name}.{os.getpid()}"
        try:
            self._make_folders(folder)
            _fill(temporary, data, source)
        except FileNotFoundError:  # removed with its run since this process made it
            self._synced.clear()
            self._make_folders(folder)
            _fill(temporary, data, source)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        os.replace(temporary, folder / name)
        temporary.unlink(missing_ok=True)  # two names of one file are not replaced by each other
        sync_folder(folder)
        return "/".join((*parts, name))

    def read(self, ref: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes behind a reference, or a part of them."""
        with self._open(ref) as file:
            if offset:
                file.seek(offset)
            return file.read() if length is None else file.read(length)

    def size(self, ref: str) -> int:
        """How many bytes the reference names."""
        with self._open(ref) as file:
            return os.fstat(file.fileno()).st_size

    def refs(self, run: str) -> list[str]:
        """Every reference of a run."""
        found = (self.path / filename(run)).glob("*/*/*")
        return sorted(file.relative_to(self.path).as_posix() for file in found if not file.name.startswith("."))

    def remove(self, ref: str) -> None:
        """One value that nobody needs: its attempt was superseded. A missing one is fine."""
        self.file(ref).unlink(missing_ok=True)

    def remove_run(self, run: str) -> None:
        """Everything of a run. A missing one is fine; after a crash in the middle call it again."""
        try:
            shutil.rmtree(self.path / filename(run))
        except FileNotFoundError:  # it is not there, or somebody else is removing it too
            shutil.rmtree(self.path / filename(run), ignore_errors=True)

    def runs(self) -> list[str]:
        """The runs that have values here: whoever knows which were pruned can sweep what a crash has left."""
        return sorted(unquote(file.name) for file in self.path.iterdir() if file.is_dir())

    def used(self) -> int:
        """Bytes of all values."""
        return sum(file.stat().st_size for file in self.path.glob("*/*/*/*") if file.is_file())

    # The way to a file -----------------------------------------------------------------------------------------------

    def _open(self, ref: str) -> BinaryIO:
        try:
            return open(self.file(ref), "rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound("value", ref, f"it may have been pruned with its run; looked in {self.path}") from None

    def file(self, ref: str) -> Path:
        """References come from the wire: none may lead out of the folder."""
        parts = ref.split("/")
        if len(parts) != 4 or any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise NotFound("value", ref, "a reference is run/job/path/lease")
        file = self.path.joinpath(*parts)
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise NotFound("value", ref, "it leads out of the values folder")
        return file

    def _make_folders(self, folder: Path) -> None:
        """Make the folder, and sync the names of all its parents: another process may have made but not synced them."""
        if folder in self._synced:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for parent in (folder.parent, folder.parent.parent, self.path):
            sync_folder(parent)
        if len(self._synced) >= _KNOWN:
            self._synced.clear()
        self._synced.add(folder)

    # The folder's id -------------------------------------------------------------------------------------------------

    def _read_id(self) -> str | None:
        try:
            text = (self.path / ID_FILE).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        if len(text) != 32:
            raise ConfigError(f"{self.path / ID_FILE} does not hold an id; is {self.path} a values folder?")
        return text

    def _make_id(self) -> str:
        """Whoever comes first makes it; everybody else takes that one."""
        with locked(self.path / f".{ID_FILE}.lock"):
            known = self._read_id()
            if known is None:
                known = uuid4().hex
                replace(self.path / ID_FILE, f"{known}\n".encode(), self.path / f".{ID_FILE}.new")
        return known


def _fill(temporary: Path, data: bytes, source: Path | None) -> None:
    """The content under a name that is not its last one."""
    if source is not None:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
            return
        except OSError:  # another file system, or one without links
            pass
    write_synced(temporary, data)
