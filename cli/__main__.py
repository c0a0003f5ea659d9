"""The `vitrine` command. Each subcommand is a module of its own, imported only when it is called."""

from importlib import import_module
from typing import Any

import click

from cli.plain import Group
from shared.text import plain_lines

COMMANDS = {
    "run": "cli.run:run",
    "worker": "cli.worker:worker",
    "import": "cli.importing:import_",
    "analyze": "cli.analyze:analyze",
    "search": "cli.search:search",
    "dlq": "cli.dlq:dlq",
    "topics": "cli.topics:topics",
    "groups": "cli.groups:groups",
    "rebuild": "cli.rebuild:rebuild",
    "train": "cli.train:train",
    "evaluate": "cli.evaluate:evaluate",
    "packs": "cli.packs:packs",
    "taxonomy": "cli.taxonomy:taxonomy",
}


class Lazy(Group):
    """So that `vitrine topics` does not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Errors name files, listings and what servers said."""
        try:
            return super().invoke(ctx)
        except click.ClickException as why:
            why.message = plain_lines(why.message)
            raise


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vitrine")
def main() -> None:
    """Understands every product photo that enters a marketplace."""
