"""`vitrine packs`: which model packs there are, what they know, and whether their files are whole."""

import click

from cli import tables
from cli.plain import Group
from shared.screen import Rows
from shared.settings import Settings
from shared.text import plain
from shared.vision.pack import Manifest, PackUnusable, find_pack, installed_packs, open_pack, read_manifest


@click.group(cls=Group)
def packs() -> None:
    """List, show and verify model packs."""


@packs.command(name="list")
def list_() -> None:
    """One line for each pack under models/."""
    table = Rows("pack", "generation", "trunk", "leaves", "dimensions")
    broken: list[str] = []
    for folder in installed_packs():
        try:
            m = read_manifest(folder)
        except PackUnusable as why:
            broken.append(plain(str(why)))
            continue
        leaves, dimensions = len(m.taxonomy), m.embedding.dimensions
        table.add_row(m.pack_name, str(m.generation), m.trunk.names, str(leaves), str(dimensions))
    tables.show(table)
    if broken:
        raise click.ClickException("\n".join(broken))


@packs.command()
@click.argument("name")
def show(name: str) -> None:
    """What the pack NAME (or in a folder) knows and how well."""
    for line in _described(read_manifest(find_pack(name))):
        tables.say(line)


@packs.command()
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Compare every file with its checksum, and every shape with the manifest. No NAMES: all packs."""
    wanted = names or tuple(str(folder) for folder in installed_packs())
    problems: list[str] = []
    for name in wanted:
        try:
            pack = open_pack(name)
        except PackUnusable as why:
            problems.append(plain(str(why)))
        else:
            tables.say(f"{pack.manifest.pack_name}: {len(pack.manifest.files)} files are whole")
    if problems:
        raise click.ClickException("\n".join(problems))


@packs.command()
@click.argument("name", default="builtin")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(0), help="0 takes all cores.")
def bench(name: str, threads: int) -> None:
    """The pack NAME's network on every engine of this machine, side by side, and which one serves."""
    from shared.vision.reader import runtime_of  # torch takes seconds to load
    from shared.vision.runtime import BATCH

    pack = open_pack(name)
    runtime = runtime_of(pack, Settings(threads=threads))
    canvas = " x ".join(map(str, pack.manifest.trunk.canvases[0]))
    title = f"{pack.manifest.pack_name}: {pack.manifest.trunk.names}, {canvas} pixels, batches of {BATCH}"
    table = Rows("engine", tables.number("ms/photo"), tables.number("cosine to torch"), "", title=title)
    for one in runtime.tried:
        said = one.why_not or ("serves" if one.name == runtime.engine.name else "")
        table.add_row(one.name, f"{one.milliseconds:.1f}", f"{one.agreement:.5f}", said)
    tables.show(table)


def _described(manifest: Manifest) -> list[str]:
    lines = [
        f"{manifest.pack_name}, generation {manifest.generation}",
        f"trunk       {manifest.trunk.names}, {manifest.trunk.shapes} pixels",
        f"embedding   {manifest.embedding.dimensions} dimensions in space {manifest.embedding.space}",
    ]
    lines += [
        f"attributes  {'/'.join(one.path) or 'all'}: {', '.join(one.attributes)}"
        for one in manifest.categories
        if one.attributes
    ]
    lines += [f"measured    {name.replace('_', ' ')}: {value:.4g}" for name, value in manifest.measured.items()]
    lines += [
        f"category    {' / '.join(path)}  {manifest.meaning_of(path).taxonomy_id or 'no taxonomy id'}"
        for path in manifest.taxonomy
    ]
    return lines
