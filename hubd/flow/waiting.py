"""What of a plan waits for an environment that is refused, has failed, or cannot be solved. Changes nothing."""

from __future__ import annotations

from hubd.flow.values import Gap, Plan
from hubd.host import Host
from hubd.resources.base import Progress
from hubd.resources.environment import Environment
from hubd.words import thing


def with_what_waits(host: Host, found: Plan) -> Plan:
    """The plan, with what an apply would hold back as waiting and not as a change.

    Of environments alone: what else is wrong may be mended by what comes before it.
    """
    causes: dict[str, str] = {}
    told = []
    for gap in found.gaps:
        resource = gap.resource
        cause = next((causes[need] for need in resource.needs if need in causes), "")
        if isinstance(resource, Environment) and gap.error:
            causes[resource.id] = resource.id
        elif cause and gap.steps and not gap.removal and not resource.goes_on(host):
            causes[resource.id] = cause
            told.append(Gap(resource, progress=Progress(f"waits for {thing(cause)}")))
            continue
        told.append(gap)
    return Plan(tuple(told), found.right)
