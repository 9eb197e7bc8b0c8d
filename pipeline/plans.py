"""The plans of the definitions that were met last: thousands of runs often share one."""

from __future__ import annotations

from collections import OrderedDict

from .plan import Plan

LARGE = 1000
"""Plans of more jobs than this are not kept."""


class Plans:
    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()

    def of(self, packed: bytes) -> Plan:
        """Raises `DefinitionError` for what can be no run."""
        plan = self._plans.get(packed)
        if plan is None:
            plan = Plan.load(packed)
            if plan.count <= LARGE:
                self._keep(packed, plan)
        else:
            self._plans.move_to_end(packed)
        return plan

    def _keep(self, packed: bytes, plan: Plan) -> None:
        self._plans[packed] = plan
        if len(self._plans) > self._limit:
            self._plans.popitem(last=False)
