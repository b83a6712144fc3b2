"""Which policy is meant to be deployed, by whose leave, and since when it serves.

`releases` only grows; its last row is what ought to run. `previous_id` is where a rollback from that row
leads: for a promotion the release before it, for a rollback what the restored release would fall back to. So
two rollbacks go two releases back, and rolling back never reaches a policy that was withdrawn.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update

from daemon.store.cycles import find_cycle, move
from daemon.store.engine import deciding, reading, writing
from daemon.store.results import find_winner
from daemon.store.rows import CycleRow, CycleState, ReleaseRow, ReviewRow
from daemon.store.sql import add, all_rows, columns, first_row, log_event, policy_of, required, save_policy
from daemon.store.tables import policies, releases, reviews
from policies.digests import short
from policies.errors import StateError
from policies.records import Policy


class Releases:
    """Approve, reject and roll back are one transaction each, with who did it, why and when."""

    def __init__(self, engine: Engine, adapters_dir: Path | None = None) -> None:
        self._engine, self._adapters_dir = engine, adapters_dir

    def deployed(self) -> ReleaseRow | None:
        """The release that ought to run, or None before the first."""
        with reading(self._engine) as connection:
            return _deployed(connection)

    def serving(self) -> ReleaseRow | None:
        """The last release that a server confirmed, or None."""
        statement = columns(releases, ReleaseRow).where(releases.c.serving_at.is_not(None))
        with reading(self._engine) as connection:
            return first_row(connection, statement.order_by(releases.c.id.desc()).limit(1), ReleaseRow)

    def history(self, limit: int = 100) -> list[ReleaseRow]:
        """The newest releases first."""
        order = columns(releases, ReleaseRow).order_by(releases.c.id.desc()).limit(limit)
        with reading(self._engine) as connection:
            return all_rows(connection, order, ReleaseRow)

    def reviews(self, cycle_id: int | None = None) -> list[ReviewRow]:
        """What people decided, oldest first, of one cycle or of all."""
        statement = columns(reviews, ReviewRow).order_by(reviews.c.id)
        if cycle_id is not None:
            statement = statement.where(reviews.c.cycle_id == cycle_id)
        with reading(self._engine) as connection:
            return all_rows(connection, statement, ReviewRow)

    def save_policy(self, policy: Policy, at: datetime) -> None:
        """Keeps what a policy digest stands for, and where its adapter lies now."""
        with writing(self._engine) as connection:
            save_policy(connection, policy, at)

    def policy(self, digest: str) -> Policy:
        """The policy of a digest. StateError for an unknown one."""
        with reading(self._engine) as connection:
            row = connection.execute(select(policies).where(policies.c.digest == digest)).first()
        if row is None:
            raise StateError(f"there is no policy {short(digest)} in this database")
        return policy_of(row, self._adapters_dir)

    def record_initial(self, policy: Policy, at: datetime) -> ReleaseRow:
        """The first release, which no review precedes; asked again it returns what is deployed.

        StateError where releases of another base model are recorded.
        """
        with deciding(self._engine) as connection:
            now = _deployed(connection)
            if now is not None:
                _refuse_other_base(connection, now, policy)
                return now
            save_policy(connection, policy, at)
            return _release(connection, policy.digest, "initial", at)

    def mark_serving(self, release_id: int, at: datetime) -> None:
        """Records that the server answers with this release; the first confirmation counts."""
        unconfirmed = (releases.c.id == release_id, releases.c.serving_at.is_(None))
        with deciding(self._engine) as connection:
            _find_release(connection, release_id)
            if connection.execute(update(releases).where(*unconfirmed).values(serving_at=at)).rowcount:
                log_event(connection, "release_serving", at, None, release=release_id)

    def approve(self, cycle_id: int, *, bound_digest: str, who: str, reason: str, at: datetime) -> ReleaseRow:
        """Releases the cycle's winner. `bound_digest` is the policy digest that the person was shown.

        StateError where the cycle does not wait for approval, the winner is another policy, or the deployed
        policy is no longer the incumbent that the winner was measured against.
        """
        with deciding(self._engine) as connection:
            cycle, policy_digest = _bound_winner(connection, cycle_id, bound_digest)
            now = _deployed(connection)
            if now is not None and now.policy_digest != cycle.incumbent_digest:
                raise StateError(
                    f"cycle {cycle_id} compared with {short(cycle.incumbent_digest)}, but "
                    f"{short(now.policy_digest)} is deployed now; reject it and run a new cycle"
                )
            review_id = _review(connection, cycle_id, "approve", who, reason, policy_digest, bound_digest, at)
            move(connection, cycle_id, CycleState.WAITING, CycleState.RELEASED, cycle.stage, at)
            previous_id = None if now is None else now.id
            return _release(connection, policy_digest, "promotion", at, previous_id, cycle_id, review_id)

    def reject(self, cycle_id: int, *, bound_digest: str, who: str, reason: str, at: datetime) -> CycleRow:
        """Ends a cycle that waits for approval without a release. StateErrors as for approve."""
        with deciding(self._engine) as connection:
            cycle, policy_digest = _bound_winner(connection, cycle_id, bound_digest)
            _review(connection, cycle_id, "reject", who, reason, policy_digest, bound_digest, at)
            move(connection, cycle_id, CycleState.WAITING, CycleState.REJECTED, cycle.stage, at)
            return find_cycle(connection, cycle_id)

    def rollback(
        self, *, who: str, reason: str, at: datetime, expected_release_id: int | None = None
    ) -> ReleaseRow:
        """Releases what was deployed before the present release.

        `expected_release_id` names the release that the person wants to leave, so that two people at once go
        one step back and not two. StateError where there is nothing to go back to.
        """
        with deciding(self._engine) as connection:
            now = _deployed(connection)
            if now is None or now.previous_id is None:
                raise StateError("there is no earlier release to roll back to")
            if expected_release_id not in (None, now.id):
                raise StateError(f"release {now.id} is deployed now, not {expected_release_id}; look again")
            target = _find_release(connection, now.previous_id)
            review_id = _review(
                connection, now.cycle_id, "rollback", who, reason, target.policy_digest, now.policy_digest, at
            )
            return _release(
                connection,
                target.policy_digest,
                "rollback",
                at,
                target.previous_id,
                target.cycle_id,
                review_id,
            )


def _deployed(connection: Connection) -> ReleaseRow | None:
    newest = columns(releases, ReleaseRow).order_by(releases.c.id.desc()).limit(1)
    return first_row(connection, newest, ReleaseRow)


def _find_release(connection: Connection, release_id: int) -> ReleaseRow:
    release = first_row(
        connection, columns(releases, ReleaseRow).where(releases.c.id == release_id), ReleaseRow
    )
    if release is None:
        raise StateError(f"there is no release {release_id}")
    return release


def _bound_winner(connection: Connection, cycle_id: int, bound_digest: str) -> tuple[CycleRow, str]:
    cycle = find_cycle(connection, cycle_id)
    if cycle.state is not CycleState.WAITING:
        raise StateError(f"cycle {cycle_id} is {cycle.state} and does not wait for approval")
    winner = find_winner(connection, cycle_id)
    if winner is None or winner.policy_digest is None:
        raise StateError(f"cycle {cycle_id} has no winner to review; run it again")
    if winner.policy_digest != bound_digest:
        raise StateError(
            f"cycle {cycle_id} offers policy {short(winner.policy_digest)}, not {short(bound_digest)}; "
            f"look again at `primum cycle show {cycle_id}`"
        )
    return cycle, winner.policy_digest


def _refuse_other_base(connection: Connection, now: ReleaseRow, policy: Policy) -> None:
    of_deployed = select(policies.c.base_digest).where(policies.c.digest == now.policy_digest)
    base = connection.execute(of_deployed).scalar_one()
    if base != policy.base_digest:
        raise StateError(
            f"this database holds releases of base model {short(base)}, the configured one is "
            f"{short(policy.base_digest)}; choose another data directory or the former model"
        )


def _review(
    connection: Connection,
    cycle_id: int | None,
    action: str,
    who: str,
    reason: str,
    policy_digest: str,
    bound_digest: str,
    at: datetime,
) -> int:
    who, reason = required(who, "the reviewer's name"), required(reason, "the reason")
    row = {"policy_digest": policy_digest, "bound_digest": bound_digest, "at": at}
    log_event(connection, action, at, cycle_id, who=who, policy=policy_digest)
    return add(connection, reviews, cycle_id=cycle_id, action=action, who=who, reason=reason, **row)


def _release(
    connection: Connection,
    policy_digest: str,
    kind: str,
    at: datetime,
    previous_id: int | None = None,
    cycle_id: int | None = None,
    review_id: int | None = None,
) -> ReleaseRow:
    release_id = add(
        connection,
        releases,
        policy_digest=policy_digest,
        previous_id=previous_id,
        cycle_id=cycle_id,
        review_id=review_id,
        kind=kind,
        desired_at=at,
    )
    log_event(connection, "release_desired", at, cycle_id, release=release_id, release_kind=kind)
    return _find_release(connection, release_id)
