"""Who may import whom: services share what lies in shared/ and nothing else, and no image needs what only trains."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT

# Each room, and the rooms that it may import from beside itself.
ROOMS = {
    "shared": set[str](),
    "studio": set[str](),
    "services": {"shared"},
    "learning": {"shared", "studio"},
    "client": {"shared"},
    "local": {"client", "services", "shared", "studio"},
    "cli": {"client", "learning", "local", "services", "shared", "studio"},
}
# It runs the others' tasks in one process.
TOGETHER = "fused"


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(name), names=names, level=level):
                assert not level, f"{module}: name the whole path"
                # `from services import fraud` names a package too.
                yield from (f"{name}.{one.name}" for one in names)


def modules(room: str) -> list[Path]:
    return [path for path in (PROJECT / room).rglob("*.py") if "pb" not in path.parts]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_below_it(room: str) -> None:
    assert modules(room)
    wrong = [
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in modules(room)
        for name in imports(path)
        if (other := name.partition(".")[0]) in ROOMS and other not in {room, *ROOMS[room]}
    ]
    assert not wrong


def test_one_service_does_not_import_another() -> None:
    wrong = []
    for path in modules("services"):
        own = path.relative_to(PROJECT / "services").parts[0]
        for name in imports(path):
            other = name.split(".")[1] if name.startswith("services.") else own
            if own not in (other, TOGETHER):
                wrong.append(f"{path.relative_to(PROJECT)} imports {name}")
    assert not wrong


def test_only_what_learns_needs_scipy() -> None:
    """It is as large as all that serves beside torch and OpenVINO."""
    users = {room for room in ROOMS for path in modules(room) for name in imports(path) if name.startswith("scipy")}
    assert users == {"learning"}
    served = [PROJECT / "requirements" / f"{name}.txt" for name in ("base", "inference", "inference-cpu")]
    assert not [path.name for path in served if "\nscipy==" in path.read_text(encoding="utf-8")]


def test_every_room_is_checked_and_packaged() -> None:
    """Checked by `make check` and mypy, packaged in the wheel that the images are made of."""
    rooms = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"bench"}
    assert rooms == set(ROOMS)
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    checked = next(line for line in (PROJECT / "Makefile").read_text().splitlines() if line.startswith("CHECKED"))
    for room in rooms:
        assert f'"{room}*"' in project, f"{room} is not in the wheel"
        assert room in checked.split(), f"{room} is not checked"
