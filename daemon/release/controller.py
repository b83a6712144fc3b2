"""Makes the upstream answer as the desired policy: load, probe, switch, drain, unload.

The order is the safety: nothing is routed to before it has answered a real question, nothing is unloaded
while a request still uses it, and any failure before the switch leaves the old policy deployed. Names are
content hashes and loads are ordinary: vLLM's in-place load re-reads folders while serving, and changed
weights under an old name answer from a stale prefix cache (vllm#42125).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from daemon.release.artifacts import adapter_folder, verify_adapter
from daemon.release.router import Route, Target
from daemon.release.upstream import Upstream
from policies.digests import short
from policies.errors import EngineError, PrimumError
from policies.records import Policy

_log = logging.getLogger(__name__)
_OURS = "primum-"


class ReleaseState(StrEnum):
    """How a reconciliation ended."""

    UNCHANGED = "unchanged"  # the desired policy was deployed and loaded already
    RELEASED = "released"  # the route was switched to it
    RESTORED = "restored"  # it was deployed, but the upstream had lost it and has it again
    FAILED = "failed"  # the route is as it was


@dataclass(frozen=True)
class ReleaseStatus:
    """The outcome for one desired policy. `lingering` names wait to be unloaded at a later reconciliation."""

    state: ReleaseState
    name: str
    policy_digest: str
    reason: str | None = None
    unloaded: tuple[str, ...] = ()
    lingering: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.state is not ReleaseState.FAILED


class ReleaseController:
    """Reconciles one upstream and the route with a desired policy; call it as often as you like.

    `server_adapters_dir` is where the server sees `adapters_dir`, if it runs in a container of its own.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        route: Route,
        base_model_name: str,
        adapters_dir: Path,
        server_adapters_dir: PurePosixPath | None = None,
        drain_timeout_s: float = 30.0,
    ) -> None:
        self._upstream, self._route = upstream, route
        self._base_model_name, self._adapters_dir = base_model_name, adapters_dir
        self._server_adapters_dir = server_adapters_dir
        self._drain_timeout_s = drain_timeout_s
        self._retired: dict[str, None] = {}  # names once deployed, oldest first
        self._one_at_a_time = threading.Lock()

    def reconcile(self, desired: Policy) -> ReleaseStatus:
        """Deploy `desired` unless it is. A failure is a status with its reason, not an exception."""
        target = Target(desired.adapter_name or self._base_model_name, desired)
        with self._one_at_a_time:
            try:
                state = self._bring_up(target)
            except (PrimumError, OSError) as error:  # of its folder, too
                _log.info("release of %s failed, the route is unchanged: %s", target.name, error)
                return ReleaseStatus(
                    ReleaseState.FAILED,
                    target.name,
                    desired.digest,
                    str(error),
                    lingering=tuple(self._retired),
                )
            unloaded = self._unload_retired(self._drain_timeout_s)
            return ReleaseStatus(
                state, target.name, desired.digest, unloaded=unloaded, lingering=tuple(self._retired)
            )

    def sweep(self, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Unload adapters of ours that are neither deployed nor in flight nor in `keep`; their names.

        For leftovers of an earlier daemon and of evaluated candidates. Call it when no cycle is running.
        """
        with self._one_at_a_time:
            current = self._route.current
            deployed = current.name if current else None
            for name, card in self._upstream.models().items():
                if name.startswith(_OURS) and card.get("parent") and name != deployed and name not in keep:
                    self._retired[name] = None
            return self._unload_retired(0.0)

    def _bring_up(self, target: Target) -> ReleaseState:
        deployed = self._route.current == target
        models = self._upstream.models()
        card = models.get(target.name)
        # Ours says what its base model is; vLLM does not.
        base = models.get(self._base_model_name, {}).get("base_digest")
        if base not in (None, target.policy.base_digest):
            raise EngineError(
                f"the server's base model is {short(str(base))}, and the release is of "
                f"{short(target.policy.base_digest)}; set model.name back to the former model"
            )
        if deployed and card is not None:
            return ReleaseState.UNCHANGED
        fresh = card is None or self._loaded_from_elsewhere(target, card)
        if fresh:
            self._load(target, again=card is not None)
        try:
            self._upstream.probe(target.name)
        except EngineError:
            if fresh:
                self._forget(target.name)
            raise
        before = self._route.switch(target)
        self._retired.pop(target.name, None)
        if before is not None and before.name not in (target.name, self._base_model_name):
            self._retired[before.name] = None
        _log.info("deployed policy is now %s", target.name)
        return ReleaseState.RESTORED if deployed else ReleaseState.RELEASED

    def _loaded_from_elsewhere(self, target: Target, card: Mapping[str, Any]) -> bool:
        """Whether a worker loaded this adapter from a folder that may yet change or go, such as a cycle's."""
        digest = target.policy.adapter_digest
        return digest is not None and card.get("root") not in (None, str(self._folder(digest)[1]))

    def _folder(self, digest: str) -> tuple[Path, PurePath]:
        """The adapter's folder as we see it, and as the server sees it."""
        folder = adapter_folder(self._adapters_dir, digest).resolve()
        return folder, self._server_adapters_dir / folder.name if self._server_adapters_dir else folder

    def _load(self, target: Target, *, again: bool) -> None:
        digest = target.policy.adapter_digest
        if digest is None:
            raise EngineError(f"the server serves no base model {target.name!r}; mend its name")
        folder, seen_at = self._folder(digest)
        verify_adapter(folder, digest)
        if again:
            self._upstream.unload(target.name)
        try:
            self._upstream.load(target.name, seen_at)
        except EngineError:
            # A worker may have loaded the same content between our look and our call.
            if target.name not in self._upstream.models():
                raise

    def _forget(self, name: str) -> None:
        try:
            self._upstream.unload(name)
        except EngineError as error:
            _log.warning("%s did not answer its probe and could not be unloaded: %s", name, error)

    def _unload_retired(self, timeout_s: float) -> tuple[str, ...]:
        """Unload what is drained; what is not, or cannot be unloaded now, stays for the next time."""
        gone = []
        for name in list(self._retired):
            if not self._route.drained(name, timeout_s=timeout_s):
                _log.warning("%s still has requests in flight; it stays loaded for now", name)
                continue
            try:
                self._upstream.unload(name)
            except EngineError as error:
                _log.warning("%s could not be unloaded yet: %s", name, error)
                continue
            del self._retired[name]
            gone.append(name)
        return tuple(gone)
