"""The imports of the package, lazy ones too: no circles, and the rooms of docs/architecture.md hold."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import lru_cache, reduce
from pathlib import Path
from types import FrameType

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "aicli"


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=1)
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in PACKAGE.rglob("*.py") if "_bundled" not in path.parts}


def imported_names(path: Path) -> Iterator[str]:
    """What a file imports anywhere, but for types only: of ``from a import b`` the module ``a.b`` if there is one."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in (getattr(node.func, key, "") for key in ("id", "attr")):
            start = ast.unparse(node.args[0]).lstrip("f").strip("'\"").partition("{")[0]
            yield from (name for name in modules() if start and name.startswith(start))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            inner = [f"{source}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in modules())
            if not all(name in modules() for name in inner):
                yield source


@lru_cache(maxsize=1)
def imports() -> dict[str, set[str]]:
    """For every module of the package those that it imports."""
    return {
        name: {found for found in imported_names(path) if found in modules()} - {name}
        for name, path in modules().items()
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(imports()) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "f"}, "f": {"e"}}
    assert circles(graph) == [["b", "c"], ["e", "f"]]


def test_lazy_imports_are_read() -> None:
    found = imports()["aicli.cli.main"]
    assert "aicli.cli.commands.classify" in found, "subcommands are imported by their names"
    assert "aicli.workers.pool" in imports()["aicli.cli.batch.run"]
    assert "aicli.image.decode" not in imports()["aicli.wasm.cache"]


def rooms() -> dict[str, set[str] | None]:
    """The table of docs/architecture.md: what each room may import; ``None``: the package and all that is below."""
    text = (PROJECT / "docs" / "architecture.md").read_text()
    table = text[text.index("## Rooms") : text.index("## Decisions")]
    found: dict[str, set[str] | None] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`aicli/([a-z_]+)(?:/|\.py)`", cells[0])
        if len(cells) == 3:
            for name in names:
                found[name] = None if cells[2].startswith("every") else set(re.findall(r"`([a-z_]+)`", cells[2]))
    return found


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


def test_rooms_import_what_the_table_says() -> None:
    table = rooms()
    order = list(table)
    wrong = []
    for module, found in sorted(imports().items()):
        room = room_of(module)
        if room.startswith("_") or room in ("", "errors"):
            continue
        assert room in table, f"docs/architecture.md has no row for aicli/{room}"
        listed = table[room]
        allowed = {"options", *(listed if listed is not None else ("", *order[order.index(room) + 1 :]))}
        for other in sorted(found):
            target = room_of(other)
            if target in ("errors", room) or target.startswith("_") or target in allowed:
                continue
            wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_every_import_that_the_table_allows_is_made() -> None:
    """A row that allows too much is no rule."""
    made = {(room_of(module), room_of(other)) for module, found in imports().items() for other in found}
    table = rooms()
    idle = [f"{room}: {name}" for room, allowed in table.items() for name in allowed or () if (room, name) not in made]
    assert idle == []


STATION = re.compile(r"`([a-z_/]+\.py)`((?:,?\s+`[A-Za-z_.]+`)+)")


def stations(text: str) -> list[tuple[str, str]]:
    """Files and functions that the section on a photo's way names, in its order."""
    found = STATION.findall(text)
    return [(file, name) for file, names in found for name in re.findall(r"`([A-Za-z_.]+)`", names)]


def way_of_a_photo() -> str:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    return text[text.index("## A photo's way") : text.index("## Decisions")]


def test_the_way_of_a_photo_names_what_is_there() -> None:
    found = stations(way_of_a_photo())
    assert len(found) > 20
    for file, name in found:
        module = importlib.import_module(f"aicli.{file.removesuffix('.py').replace('/', '.')}")
        assert callable(reduce(getattr, name.split("."), module)), f"{file} has no {name}"


def test_a_photo_goes_the_way_that_is_written_down(capfd: pytest.CaptureFixture[str]) -> None:
    """The second photo, as the first one loads the model."""
    from aicli.cli.main import run

    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in file.parents:
            calls.append((file.relative_to(PACKAGE).as_posix(), frame.f_code.co_name))

    photos = [str(PROJECT / "examples" / name) for name in ("chelsea.png", "grace_hopper.jpg")]
    sys.setprofile(note)
    try:
        code = run(["classify", "--runtime", "wasmtime", "-f", "jsonl", *photos])
    finally:
        sys.setprofile(None)
    assert code == 0 and len(capfd.readouterr().out.splitlines()) == 2
    table = way_of_a_photo().partition("With `--jobs`")[0]
    expected = [(file, name.rpartition(".")[2]) for file, name in stations(table)]
    begin = [place for place, call in enumerate(calls) if call == ("cli/batch/work.py", "__call__")][1]
    second = [("cli/batch/run.py", "_jobs"), *(call for call in calls[begin:] if call in set(expected))]
    met = iter(second)
    assert all(any(call == station for call in met) for station in expected), (expected, second)


DOORS = {
    "wasmtime": {"aicli.wasm.wasmtime"},
    "wasmer": {"aicli.wasm.wasmer"},
    "ai_edge_litert": {"aicli.nn.engines", "aicli.catalog.formats.tflite_schema"},  # the latter for the file's schema
    "tflite_runtime": {"aicli.nn.engines"},
}


@pytest.mark.parametrize("package", DOORS)
def test_runtimes_and_interpreters_have_one_door(package: str) -> None:
    """Who imports them, or has their name for ``import_module``."""
    using = {
        module
        for module, path in modules().items()
        if any(name.split(".")[0] == package for name in imported_names(path))
        or (
            package in ("ai_edge_litert", "tflite_runtime")
            and any(text.split(".")[0] == package for text in messages(path))
        )
    }
    assert {next((door for door in DOORS[package] if module.startswith(door)), module) for module in using} == DOORS[
        package
    ]


FLAG = re.compile(r"(?<![\w-])--[a-z]")
OTHER_PROGRAMS = re.compile(r"curl |hadoop |^--[a-z-]+$")
"""What names the flag of another program: of curl or hadoop, an argument of cargo or wasm-opt."""


def messages(path: Path) -> Iterator[str]:
    """The string literals of a file, but for those that stand as a statement: docstrings."""
    tree = ast.parse(path.read_bytes())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_only_the_command_line_names_its_flags() -> None:
    """Libraries and the service say it with a hint, which each reader gets in his own words."""
    wrong = []
    for module, path in modules().items():
        if room_of(module) in ("cli", "options"):
            continue
        wrong += [
            f"{module}: {text}" for text in messages(path) if FLAG.search(text) and not OTHER_PROGRAMS.search(text)
        ]
    assert wrong == []


GUEST = PROJECT / "guest-rust" / "src"
RUST_PATH = re.compile(r"\b(crate|super)((?:::[a-z_]+)+)")


def rust_modules() -> dict[str, Path]:
    """Name and file of each module of the guest, tests left out; simd with its two implementations is one."""
    files = [path for path in GUEST.rglob("*.rs") if not path.stem.endswith("_tests") and path.stem != "fake"]
    return {path.relative_to(GUEST).with_suffix("").as_posix().removesuffix("/mod"): path for path in files}


def rust_imports() -> dict[str, set[str]]:
    names = rust_modules()
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        code = re.sub(r"^\s*//.*", "", path.read_text(), flags=re.MULTILINE).partition("#[cfg(test)]\nmod tests")[0]
        folder = name.rpartition("/")[0]
        found = graph.setdefault(name, set())
        for start, rest in RUST_PATH.findall(code):
            parts = ([folder] if start == "super" and folder else []) + rest.split("::")[1:]
            candidates = ("/".join(parts[:2]), parts[0])
            found |= {next((candidate for candidate in candidates if candidate in names), name)} - {name}
        if path.name == "mod.rs":
            found |= {f"{name}/{child}" for child in re.findall(r"use ([a-z_]+)::", code)}
    return graph


def test_the_guest_has_no_circle_of_imports() -> None:
    graph = rust_imports()
    assert {"mtcnn/boxes", "mtcnn/pyramid", "resize"} <= graph["mtcnn/crops"]
    assert "mtcnn" in graph["exports"] and "mtcnn/cascade" in graph["mtcnn"]
    assert circles(graph) == []


def test_only_the_edges_of_the_guest_touch_pointers() -> None:
    """Exports and host have the host's pointers; bytes and simd_wasm view memory of their own as bytes. profile has
    an allocator that counts, in measurements alone."""
    unsafe = {name for name, path in rust_modules().items() if re.search(r"\bunsafe\b(?!_)", path.read_text())}
    assert unsafe - {"lib"} == {"bytes", "exports", "host", "profile", "simd_wasm"}
    assert {name for name, found in rust_imports().items() if "host" in found} == {"nn", "profile"}
