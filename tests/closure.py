"""Which source files a function can depend on, read from the source alone.

Follows every name from definition to definition, imports inside functions and annotations included: an annotation
tells which objects are handed in. A file counts where something that it defines is used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = "trunkline"
SOURCE = Path(__file__).resolve().parent.parent / "src"

Target = tuple[str, str | None]
"""A module and a name in it; None = the module as a whole."""


def files_behind(module: str, name: str, without: frozenset[str] = frozenset()) -> set[str]:
    """Return the files, such as src/trunkline/files.py, that `name` of `module` can depend on.

    Args:
        without: Modules that are not followed.
    """
    seen: set[Target] = set()
    todo: list[Target] = [(module, name)]
    while todo:
        target = todo.pop()
        if target not in seen and target[0] not in without and path_of(target[0]):
            seen.add(target)
            todo.extend(load(target[0]).used_by(target[1]))
    return {
        path_of(module).relative_to(SOURCE.parent).as_posix()
        for module, name in seen
        if name is None or name in load(module).definitions
    }


@cache
def path_of(module: str) -> Path | None:
    """Return the file of a module of ours, None where there is none."""
    base = SOURCE.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


class Module:
    """The definitions and imports of one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, Target] = {}
        self.always: list[ast.stmt] = []
        for statement in _flat(ast.parse(path_of(name).read_text(encoding="utf-8")).body):
            self._note(statement)

    def _note(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self.imports |= _imported(statement)
            return
        names = _defined(statement)
        for name in names:
            self.definitions.setdefault(name, []).append(statement)
        if not names:
            self.always.append(statement)

    def used_by(self, name: str | None) -> Iterator[Target]:
        """Yield what `name`, or the module as a whole, uses."""
        if name in self.imports:
            yield self.imports[name]
            return
        if name is None:
            yield from ((self.name, each) for each in (*self.definitions, *self.imports))
        for statement in (*self.definitions.get(name or "", []), *self.always):
            inside = [node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom)]
            local = {word: target for node in inside for word, target in _imported(node).items()}
            yield from local.values()
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and node.id not in local:
                    yield self.name, node.id


load = cache(Module)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those under `if TYPE_CHECKING` and `try` too."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _flat([*statement.body, *statement.orelse])
        else:
            yield statement


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)]


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, Target]:
    if isinstance(node, ast.Import):
        ours = [alias for alias in node.names if alias.name.split(".")[0] == ROOT]
        return {alias.asname or ROOT: (alias.name, None) for alias in ours}
    if (node.module or "").split(".")[0] != ROOT:
        return {}
    whole = {alias: f"{node.module}.{alias.name}" for alias in node.names}
    return {
        alias.asname or alias.name: (full, None) if path_of(full) else (node.module, alias.name)
        for alias, full in whole.items()
    }
