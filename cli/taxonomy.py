"""`vitrine taxonomy`: the product taxonomy's categories by words, and what one of them is."""

from collections.abc import Iterable
from typing import Any

import click

from cli.plain import Group
from cli.tables import say, show, text
from shared.product_taxonomy import LANGUAGES, ProductCategory, product_taxonomy, spelled_id
from shared.screen import Rows
from shared.text import json_text

ENGLISH = LANGUAGES[0]


@click.group(cls=Group)
def taxonomy() -> None:
    """Find and show categories of Shopify's Standard Product Taxonomy, whose ids filters and answers carry."""


@taxonomy.command()
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--language",
    type=click.Choice(LANGUAGES, case_sensitive=False),
    help="Of the words and of what is shown. Without: words in any of them, shown in English.",
)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="A list, of each its id, path and name.")
def find(words: tuple[str, ...], language: str | None, limit: int, as_json: bool) -> None:
    """Categories that WORDS may mean, the best first: in any order, singular or plural, whole or only begun."""
    found = product_taxonomy().find(" ".join(words), language, limit)
    shown = language or ENGLISH
    if as_json:
        click.echo(json_text([_brief(category, shown) for category in found], indent=2))
    elif not found:
        raise click.ClickException("no category has any of these words; try others, or another --language")
    else:
        table = Rows("id", text("category"))
        for category in found:
            table.add_row(category.id, _path(category, shown))
        show(table)


@taxonomy.command(name="show")
@click.argument("category_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Everything as one object.")
def show_(category_id: str, as_json: bool) -> None:
    """The category ID (aa-1-13-8, or as a gid://): its path, its names in all languages, and what lies below it."""
    category = _known(category_id)
    path, below = product_taxonomy().path(category.id), product_taxonomy().children(category.id)
    names = dict(zip(LANGUAGES, category.names, strict=True))
    if as_json:
        everything = {"id": category.id, "path": _briefs(path), "names": names, "children": _briefs(below)}
        click.echo(json_text(everything, indent=2))
        return
    for kind, rows in (
        ("path", [(one.id, one.name()) for one in path]),
        ("name", list(names.items())),
        ("below", [(one.id, one.name()) for one in below]),
    ):
        for term, name in rows:
            say(f"{kind:<6}{term:<{_widest(path, below)}}{name}")


def _widest(*some: Iterable[ProductCategory]) -> int:
    return 2 + max(*map(len, LANGUAGES), *(len(one.id) for categories in some for one in categories))


def _known(text: str) -> ProductCategory:
    spelled = spelled_id(text)
    if spelled is None:
        raise click.ClickException(f"{text!r} is no id, such as aa-1-13-8; `vitrine taxonomy find` looks for words")
    if (category := product_taxonomy().get(spelled)) is None:
        nearest = product_taxonomy().nearest(spelled)
        above = f"; the nearest above it is {nearest.id} ({_path(nearest, ENGLISH)})" if nearest else ""
        raise click.ClickException(f"there is no category {spelled}{above}")
    return category


def _path(category: ProductCategory, language: str) -> str:
    return " > ".join(one.name(language) for one in product_taxonomy().path(category.id))


def _brief(category: ProductCategory, language: str) -> dict[str, Any]:
    return {"id": category.id, "name": category.name(language), "path": _path(category, language)}


def _briefs(categories: Iterable[ProductCategory]) -> list[dict[str, Any]]:
    return [{"id": one.id, "name": one.name()} for one in categories]
