"""`primum approve|reject|rollback|status`: what a person decides, with the reason they give."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.console import Console

from daemon.commands.common import options_text, placed, whoami
from daemon.status import status
from daemon.store.rows import CycleState, ReleaseRow
from daemon.wiring import Place, open_place
from policies.digests import short
from policies.errors import StateError

_WAIT_S = 30.0


@click.command()
@click.argument("cycle_id", metavar="CYCLE", type=int)
@click.option("--reason", required=True, help="Why; recorded with your name.")
@placed
def approve(cycle_id: int, reason: str, config: Path | None, data_dir: Path | None) -> None:
    """Release the winner of a cycle that waits for approval."""
    with open_place(config, data_dir) as place:
        release = place.store.releases.approve(
            cycle_id, bound_digest=_winner(place, cycle_id), who=whoami(), reason=reason, at=place.now()
        )
        click.echo(
            f"Cycle {cycle_id} approved: release {release.id} is policy {short(release.policy_digest)}."
        )
        _wait_until_served(place, release)


@click.command()
@click.argument("cycle_id", metavar="CYCLE", type=int)
@click.option("--reason", required=True, help="Why; recorded with your name.")
@placed
def reject(cycle_id: int, reason: str, config: Path | None, data_dir: Path | None) -> None:
    """Turn down the winner of a cycle that waits for approval; the deployed policy stays."""
    with open_place(config, data_dir) as place:
        place.store.releases.reject(
            cycle_id, bound_digest=_winner(place, cycle_id), who=whoami(), reason=reason, at=place.now()
        )
        click.echo(f"Cycle {cycle_id} rejected; the deployed policy stays.")


@click.command()
@click.option("--reason", required=True, help="Why; recorded with your name.")
@click.option("--leave", type=int, metavar="RELEASE", help="The release to leave, to go back once more.")
@placed
def rollback(reason: str, leave: int | None, config: Path | None, data_dir: Path | None) -> None:
    """Go back to the release before the deployed one."""
    with open_place(config, data_dir) as place:
        deployed = place.store.releases.deployed()
        if leave is None and deployed is not None and deployed.kind == "rollback":
            # Two people, or one who types it again, mean one step. There is no command that goes forward.
            raise StateError(
                f"release {deployed.id} is a rollback already, of {deployed.desired_at:%Y-%m-%d %H:%M} UTC; "
                f"to go back further: primum rollback --leave {deployed.id} --reason …"
            )
        release = place.store.releases.rollback(
            who=whoami(),
            reason=reason,
            at=place.now(),
            expected_release_id=deployed.id if leave is None and deployed else leave,
        )
        click.echo(f"Rolled back: release {release.id} is policy {short(release.policy_digest)}.")
        _wait_until_served(place, release)


@click.command("status")
@click.option("--json", "as_json", is_flag=True)
@placed
def show_status(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """What is deployed, what runs, what waits for a person."""
    with open_place(config, data_dir) as place:
        found = status(
            place.store, base_name=place.settings.model.name, arguments=options_text(config, data_dir)
        )
        if as_json:
            click.echo(json.dumps(found, indent=1))
            return
        console = Console(highlight=False)
        deployed, cycle = found["deployed"], found["cycle"]
        if deployed is None:
            console.print(
                f"Nothing is deployed yet in {place.paths.data_dir}; "
                "`primum serve` or `primum cycle run` begins."
            )
        else:
            served = "served" if deployed["serving"] else "not served yet (is the daemon running?)"
            console.print(
                f"Deployed: {deployed['name']} on {deployed['base']}, release {deployed['release']} "
                f"({deployed['kind']}) since {deployed['since']}, {served}"
            )
        if cycle is not None:
            console.print(f"Cycle {cycle['id']}: {cycle['state']}. {cycle['message'] or ''}")
        for warning in found["warnings"]:
            console.print(f"Warning: {warning}", markup=False)
        if found["commands"]:
            console.print(found["commands"]["approve"], markup=False)
            console.print(found["commands"]["reject"], markup=False)


def _winner(place: Place, cycle_id: int) -> str:
    cycle = place.store.cycles.get(cycle_id)
    if cycle.state is not CycleState.WAITING:
        raise StateError(
            f"cycle {cycle_id} is {cycle.state.value}; only one that waits for approval can be reviewed"
        )
    winner = place.store.results.winner(cycle_id)
    if winner is None or winner.policy_digest is None:
        raise StateError(f"cycle {cycle_id} has no winner to review")
    return winner.policy_digest


def _wait_until_served(place: Place, release: ReleaseRow) -> None:
    """A running daemon confirms within seconds; without one the release is served when it starts."""
    if not (place.paths.run / "url").exists():
        click.echo("No daemon is running here; it will be served when `primum serve` starts.")
        return
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        now = place.store.releases.deployed()
        if now is not None and now.id == release.id and now.serving_at is not None:
            click.echo("The daemon serves it.")
            return
        time.sleep(0.25)
    click.echo("The daemon has not confirmed it yet; see `primum status`.")
