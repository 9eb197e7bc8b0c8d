"""The default store: it hands results on and keeps nothing, because the journal keeps every result anyway."""

from __future__ import annotations

from typing import Any

from .base import Info, Store
from .required import required_input


class PipelineStore(Store):
    """Each worker gets its `requires` from the results upstream and from the data (the rule stands in `required`).

    Any configuration is accepted: the Router's `store` section may be meant for Brokers that have another store.
    """

    def retrieve(self, info: Info) -> Any:
        return required_input(info, info.get("upstream") or {})
