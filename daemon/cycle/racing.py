"""The race of a cycle: held-out prompts are asked a part at a time, and who cannot win is asked no more.

What each look found is written down before the next part is asked, so that a cycle that was killed stops the
same candidates again, whatever a judge says of an answer that it could not score before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.digests import digest_of
from policies.records import Judged, Prompt
from policies.validation.race import INCUMBENT, race
from policies.validation.tables import align

Ask = Callable[[str, Sequence[Prompt]], Sequence[Judged]]
LEAST = 30  # clusters; a bound over fewer says nothing, so nobody waits for it


@dataclass(frozen=True)
class Stop:
    """A candidate that was stopped, after how many of the prompts, and why, for a person."""

    key: str
    name: str
    prompts: int
    sentence: str


@dataclass(frozen=True)
class Raced:
    """`judged`: all prompts in their order, of the incumbent (under INCUMBENT) and of who came to the end."""

    judged: Mapping[str, tuple[Judged, ...]]
    stopped: tuple[Stop, ...] = ()


class Race:
    """At most `looks` parts; `error` is the chance that the true best is ever stopped. One part is no race.

    `record` is the file that keeps the looks; `context` is what they depend on besides prompts and candidates
    (judge, incumbent): a record of another context is not believed.
    """

    def __init__(
        self, *, looks: int, error: float, seed: int, record: Path, context: Sequence[str], least: int = LEAST
    ) -> None:
        self._looks, self._error, self._seed, self._least = looks, error, seed, least
        self._record, self._context = record, list(context)

    def run(self, prompts: Sequence[Prompt], names: Mapping[str, str], ask: Ask) -> Raced:
        """`names`: candidate key → name. `ask(key, prompts)` gives one runner's judged answers.

        The last candidate goes on to the end, wherever it stands: a decision needs somebody to speak of.
        """
        looks = self._looks if len(names) > 1 else 1
        parts = cut(prompts, looks=looks, seed=self._seed, least=self._least)
        identity = self._identity(prompts, names)
        found: dict[str, list[Judged]] = {key: [] for key in (INCUMBENT, *names)}
        running, stopped = list(names), list[Stop]()
        for number, part in enumerate(parts):
            last = number == len(parts) - 1 or len(running) < 2
            asked = [prompt for rest in parts[number:] for prompt in rest] if last else part
            for key in (INCUMBENT, *running):
                found[key] += ask(key, asked)
            if last:
                break
            behind = self._look(number, len(parts) - 1, identity, {key: found[key] for key in running}, found)
            running = [key for key in running if key not in behind]
            stopped += [self._stop(key, behind[key], names, found, len(prompts)) for key in behind]
        place = {prompt.digest: at for at, prompt in enumerate(prompts)}
        return Raced(
            {
                key: tuple(sorted(found[key], key=lambda one: place[one.prompt.digest]))
                for key in (INCUMBENT, *running)
            },
            tuple(stopped),
        )

    def _look(
        self,
        number: int,
        looks: int,
        identity: str,
        running: Mapping[str, Sequence[Judged]],
        found: Mapping[str, Sequence[Judged]],
    ) -> dict[str, dict[str, Any]]:
        """Who stops at this look: key → whom it is behind, and by how much at least. Never all of them."""
        looked = self._read(identity)
        if number < len(looked):
            return looked[number]
        behind = {
            one.key: {"behind": one.behind, "by": -one.bound}
            for one in race(found[INCUMBENT], running, looks=looks, error=self._error, least=self._least)
        }
        if len(behind) == len(running):
            del behind[max(running, key=lambda key: (_gain(found[INCUMBENT], running[key]), key))]
        self._write(identity, [*looked, behind])
        return behind

    @staticmethod
    def _stop(
        key: str,
        why: Mapping[str, Any],
        names: Mapping[str, str],
        found: Mapping[str, Sequence[Judged]],
        of: int,
    ) -> Stop:
        rival = names.get(why["behind"], f"the {INCUMBENT}")
        count = len(found[key])
        return Stop(
            key,
            names[key],
            count,
            f"{names[key]} was stopped after {count} of {of} selection prompts: "
            f"its SS is at least {why['by']:.3f} below that of {rival}",
        )

    # --- what was seen at earlier looks -----------------------------------------------------------------

    def _identity(self, prompts: Sequence[Prompt], names: Mapping[str, str]) -> str:
        asked = sorted(prompt.digest for prompt in prompts)
        rules = [self._looks, self._error, self._seed, self._least]
        return digest_of([rules, self._context, asked, sorted(names)])

    def _read(self, identity: str) -> list[dict[str, dict[str, Any]]]:
        try:
            kept = json.loads(self._record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # not written yet, or cut short by a loss of power
            return []
        return list(kept["looks"]) if kept["identity"] == identity else []

    def _write(self, identity: str, looks: Sequence[Mapping[str, Any]]) -> None:
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps({"identity": identity, "looks": looks}, indent=1), encoding="utf-8")
        partial.replace(self._record)


def cut(prompts: Sequence[Prompt], *, looks: int, seed: int, least: int = LEAST) -> list[list[Prompt]]:
    """The prompts in at most `looks` parts of about one size, rewrites of a base prompt in one part.

    The order hangs on `seed` and the base prompts alone. Parts that would end before `least` base prompts
    have been asked are joined with the next: nobody can be stopped there.
    """
    clusters: dict[str, list[Prompt]] = {}
    for prompt in sorted(prompts, key=lambda prompt: prompt.digest):
        clusters.setdefault(prompt.base_prompt, []).append(prompt)
    parts: list[list[Prompt]] = [[]]
    done = passed = 0
    for number, base in enumerate(sorted(clusters, key=lambda base: digest_of([seed, "race", base])), 1):
        parts[-1] += clusters[base]
        done += len(clusters[base])
        share = done * looks // len(prompts)
        if share > passed and number >= least and done < len(prompts):
            parts.append([])
        passed = share
    return parts


def _gain(incumbent: Sequence[Judged], candidate: Sequence[Judged]) -> float:
    before, after = align(incumbent, candidate).scores
    return float((after - before).mean())
