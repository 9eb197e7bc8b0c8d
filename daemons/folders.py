"""Where the Router keeps its data when nobody says where: one folder per Router, found again by its api port."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from .addresses import connect_address


def user_data_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """`XDG_DATA_HOME` or its default; on macOS `~/Library/Application Support`."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "Application Support"
    named = environ.get("XDG_DATA_HOME", "")
    return Path(named) if os.path.isabs(named) else home / ".local" / "share"


def default_data_folder(api_port: int | str, environ: Mapping[str, str] | None = None) -> Path:
    return user_data_folder(environ) / "headrace" / str(api_port)


def data_folder(data: str | None, api: str) -> Path:
    """The data folder of the Router at `api`: the one that was given, else the default one."""
    if data:
        return Path(data)
    scheme, _, rest = connect_address(api).partition("://")
    return default_data_folder(
        rest.rpartition(":")[2] if scheme == "tcp" else re.sub(r"[^\w.-]+", "-", rest).strip("-")
    )
