"""Which PRIMUM_… variables mean something. One that means nothing is a misspelling, and would be ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from pydantic import BaseModel

PREFIX = "PRIMUM_"
# Read elsewhere: by the model's server process, and by the tests.
ELSEWHERE = frozenset({"PRIMUM_ENGINE_API_KEY", "PRIMUM_TEST_DATA"})
# Kubernetes gives each pod variables that are named after the services around it, `primum` among them.
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://[\d.:\[\]a-fA-F]+")


def unknown_variables(
    environment: Mapping[str, str], settings: type[BaseModel], secrets: Iterable[str]
) -> list[str]:
    """A sentence for each PRIMUM_… variable that no top-level setting and none of the `secrets` bears.

    Values are not told: they may be secrets. Unknown keys within a section are the settings' own errors.
    """
    meant = {*ELSEWHERE, *secrets}
    sections = set(settings.model_fields)
    # Without what all begin with, or everything would be near everything.
    known = [key.upper() for key in _keys(settings)]
    known += [name.removeprefix(PREFIX) for name in meant if name.startswith(PREFIX)]
    told = []
    for name in sorted(environment):
        if not name.upper().startswith(PREFIX) or name in meant or _service_link(name, environment[name]):
            continue
        own = name.upper().removeprefix(PREFIX)
        if own.split("__")[0].lower() in sections:
            continue
        near = get_close_matches(own, known, n=1)
        mend = f"did you mean {PREFIX}{near[0]}?" if near else "unset it"
        told.append(f"environment variable {name} is no setting; {mend}")
    return told


def variable_of(place: Sequence[str | int], environment: Mapping[str, str]) -> str | None:
    """The variable that sets the setting at `place` (`("web", "port")`) or a section around it, if any."""
    names = {name.upper(): name for name in environment}
    for end in range(len(place), 0, -1):
        wanted = PREFIX + "__".join(str(part) for part in place[:end]).upper()
        if wanted in names:
            return names[wanted]
    return None


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """`data_dir`, `web`, `web__port`, …"""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{key}__{inner}" for inner in _keys(field.annotation))


def _service_link(name: str, value: str) -> bool:
    return bool(
        _SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value))
    )
