"""The command line. Exit codes: 0 done, 1 other error, 2 usage or configuration, 3 data, 4 engine or judge,
5 training, 6 state, 7 held, 130 interrupted. Errors are one line on stderr; --debug adds the traceback.
"""

from __future__ import annotations

import importlib
import logging
import sys
import traceback

import click

from policies.errors import PrimumError

# What `primum --help` says of a command stands here, or it would import them all, torch included.
_COMMANDS = {
    "serve": (
        "daemon.commands.serve:serve",
        "Run the daemon: serve the deployed policy, start cycles on schedule.",
    ),
    "cycle": ("daemon.commands.cycle:cycle", "Run cycles and look at them."),
    "approve": ("daemon.commands.review:approve", "Release the winner of a cycle that waits for approval."),
    "reject": ("daemon.commands.review:reject", "Turn down the winner of a cycle that waits for approval."),
    "rollback": ("daemon.commands.review:rollback", "Go back to the release before the deployed one."),
    "status": ("daemon.commands.review:show_status", "What is deployed, what runs, what waits for a person."),
    "ask": ("daemon.commands.ask:ask", "Ask a policy one question and print its answer; nothing is stored."),
    "evaluate": (
        "daemon.commands.evaluate:evaluate",
        "Ask a policy, judge its answers, print the scorecard.",
    ),
    "doctor": ("daemon.commands.doctor:doctor", "Check this machine and this configuration."),
    "judge": ("daemon.commands.judge:judge", "Look at judges, measure them, attack them, train them."),
    "gates": ("daemon.commands.gates:gates", "Look at the gates."),
    "incident": ("daemon.commands.incident:incident", "Keep the prompts on which a deployed model failed."),
    "label": ("daemon.commands.label:label", "What people say of stored answers."),
    "methods": ("daemon.commands.methods:methods", "SS and ERR of every method in every decided cycle."),
}


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for, so that `primum status` loads no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="primum", prog_name="primum", message="%(prog)s %(version)s")
def primum() -> None:
    """Keeps a deployed healthcare LLM safe: question, judge, train, validate; a person releases."""


def main() -> None:
    """Entry point of the console script; the only place where errors become exit codes."""
    debug = "--debug" in sys.argv
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        sys.exit(primum.main(prog_name="primum", standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):  # click makes an Abort of Ctrl-C within a command
        click.echo("primum: interrupted; what was stored stays, run the command again to go on", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PrimumError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"primum: {' '.join(str(error).split())}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the edge: nothing may reach a person as a bare traceback
        if debug:
            traceback.print_exc()
        click.echo(f"primum: unexpected {type(error).__name__}: {' '.join(str(error).split())}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
