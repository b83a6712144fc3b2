"""What commands share that ask a model in their own process."""

from __future__ import annotations

from daemon.wiring import Place
from daemon.workshop import Workshop
from policies.errors import StateError
from policies.records import Policy


def workshop_of(place: Place) -> Workshop:
    """The workshop; a fresh installation gets its first release, the base model. StateError where what is
    released is of another base model."""
    workshop = Workshop(settings=place.settings, paths=place.paths, store=place.store)
    place.store.releases.record_initial(workshop.base_policy, place.now())
    return workshop


def find_policy(place: Place, workshop: Workshop, name: str) -> Policy:
    """`deployed`, `base`, or a candidate by key, policy digest (or the start of either) or CYCLE:NAME."""
    if name == "base":
        return workshop.base_policy
    if name == "deployed":
        deployed = place.store.releases.deployed()
        if deployed is None:
            raise StateError("nothing is deployed yet")
        return place.store.releases.policy(deployed.policy_digest)
    found = set()
    for cycle in place.store.cycles.recent(1000):
        for row in place.store.results.candidates(cycle.id):
            names = (row.key, row.policy_digest or "", f"{cycle.id}:{row.method}")
            if row.policy_digest and (
                name == names[2] or (len(name) >= 6 and any(n.startswith(name) for n in names))
            ):
                found.add(row.policy_digest)
    if len(found) != 1:
        how = "no trained candidate" if not found else f"{len(found)} candidates"
        raise StateError(f"policy {name!r}: {how} of this name; see `primum cycle show ID --json`")
    return place.store.releases.policy(found.pop())
