"""What worker processes are made with: the user's modules and store by name, and what the Router says about them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from ...pipeline.payload import pack, unpack
from ...stores.values import ID_FILE, ValuesFolder
from ...workers.cache.place import LARGEST, LONGEST
from ...workers.cache.place import NAME as CACHE
from ...workers.messages import Settings
from ...workers.shortening import LIMIT
from ..output import OutputReader
from ..protocol import Welcome
from .usercode import DEFAULT_MODULE

logger = logging.getLogger(__name__)


class Outfit:
    """`store` None: no store of the user's. Output goes below `data`, in a folder per Broker.

    `cache` None: beside the Router's values folder, or (who does not see that) below `data`.
    """

    def __init__(
        self,
        modules: tuple[str, ...],
        store: str | None,
        data: Path,
        cache: str | None = None,
        cache_size: float = LARGEST,
        cache_keep: float = LONGEST,
        output_limit: int = LIMIT,
        watched: bool = False,
    ) -> None:
        self._store = store
        self._data = data
        self._cache = cache
        self._folder = data / "logs" / f"broker-{os.getpid()}"
        self._bare = Settings(
            modules=modules,
            required=modules != (DEFAULT_MODULE,),
            folder=os.getcwd(),
            cache_size=cache_size,
            cache_keep=cache_keep,
            output_limit=output_limit,
            watched=watched,
        )
        self.output = OutputReader(self._folder.parent, self._folder)
        self.settings: Settings | None = None
        """None until the Router has said what it has to say."""
        self.values_id: str | None = None
        self.monitoring_interval: float | None = None

    def welcome(self, message: Welcome) -> bool:
        """Take the Router's word; True when it is news."""
        config: dict[str, Any] = unpack(message.config) if message.config else {}
        self.monitoring_interval = config.get("monitoring interval")
        values = self._values(message)
        made = msgspec.structs.replace(
            self._bare,
            store=self._store,
            store_config=pack(config.get("store") or {}),
            values=values,
            cache=self._cache or str((self._data if values is None else Path(values).parent) / CACHE),
        )
        news = made != self.settings
        self.settings = made
        return news

    def of_slot(self, slot: int) -> Settings:
        assert self.settings is not None, "a process is made before the Router has answered"
        self._folder.mkdir(parents=True, exist_ok=True)
        return msgspec.structs.replace(self.settings, slot=slot, output=str(self._folder / f"worker-{slot}.log"))

    def of_monitor(self) -> Settings:
        assert self.settings is not None, "a process is made before the Router has answered"
        return msgspec.structs.replace(self.settings, monitor=True)

    def of_trial(self) -> Settings:
        """Enough to see whether the modules can be imported."""
        return self._bare

    def _values(self, message: Welcome) -> str | None:
        """The Router's values folder, if this machine sees the same one."""
        if message.values is None:
            return None
        if not Path(message.values, ID_FILE).is_file() or ValuesFolder(message.values).id != message.values_id:
            logger.warning(
                "the values folder %s of the Router is not seen here: results above 64 KiB will fail. Share it, under "
                "the same path, between the machines",
                message.values,
            )
            return None
        self.values_id = message.values_id
        return message.values
