#!/usr/bin/env python3
"""Measure the shape of a Python package: sizes, contracts, import structure. Standard library only.

    python style_numbers.py REPO_ROOT PACKAGE_FOLDER [--json] [--long N] [--rooms] [--layers A,B,C]

REPO_ROOT       the checkout; tests are looked for everywhere below it
PACKAGE_FOLDER  the package to measure, relative to the root (``src/segtune`` or ``segtune``)
--json          print one JSON object, for a table or a CI gate
--long N        list functions with more than N code lines (default 50)
--rooms         print the import arrows between the package's top-level rooms
--layers A,B,C  ground floor first: fail (exit 1) on an import that points upwards, or from a room not named.
                A `|` names rooms on one floor that may not import each other: ``geometry,models|data,train``
                A room is a folder or file directly below the package.
--max-cycles N  fail (exit 1) when there are more than N top-level import cycles

What is counted
- code line: a line with a token that is neither comment nor docstring; so blank lines and prose never make code "long"
- file length: physical lines, of files with at least one code line
- function length: code lines from `def` to the end, decorators and docstring left out
- public: neither the function nor an enclosing class starts with an underscore, and it is not nested in a function
- annotated: every parameter but self/cls, and the return value (optional for `__init__`)
- import cycle: a strongly connected group of modules by imports that run at import time
  (`TYPE_CHECKING` blocks and imports inside functions are left out; `lazy` counts with function-level imports in)
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import sys
import tokenize
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

SKIPPED_TOKENS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
SKIPPED_FOLDERS = {".git", ".venv", "venv", "build", "dist", "node_modules", "__pycache__", "site-packages"}
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Function:
    where: str
    length: int
    public: bool
    nested: bool
    documented: bool
    annotated: bool


@dataclass
class File:
    path: Path
    module: str
    lines: int
    code: set[int]
    comments: int
    docstrings: int
    tree: ast.Module
    functions: list[Function] = field(default_factory=list)


def main() -> int:
    arguments = parse_arguments()
    root = arguments.root.resolve()
    package = (root / arguments.package).resolve()
    if not package.is_dir():
        sys.exit(f"{package} is not a folder; give the package folder relative to {root}")

    files, unread = read_package(package)
    report = measure(root, package, files)
    report["unreadable files"] = unread
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report, files, arguments)

    failures = []
    if arguments.layers:
        failures += broken_layers(files, package.name, arguments.layers)
    if arguments.max_cycles is not None and len(report["import cycles"]) > arguments.max_cycles:
        failures.append(f"{len(report['import cycles'])} import cycles, at most {arguments.max_cycles} allowed")
    for failure in failures:
        print(f"FAIL {failure}", file=sys.stderr)
    return 1 if failures else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("package", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--long", type=int, default=50, metavar="N")
    parser.add_argument("--rooms", action="store_true")
    parser.add_argument("--layers", type=lambda text: [floor.split("|") for floor in text.split(",")])
    parser.add_argument("--max-cycles", type=int, metavar="N")
    return parser.parse_args()


# ---- reading -------------------------------------------------------------------------------------------------


def read_package(package: Path) -> tuple[list[File], list[str]]:
    files, unread = [], []
    for path in python_files(package):
        if is_test(path, package):
            continue
        try:
            files.append(read_file(path, module_name(path, package)))
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError) as error:
            unread.append(f"{path.relative_to(package)}: {error}")
    return files, unread


def python_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if not SKIPPED_FOLDERS.intersection(p.relative_to(folder).parts))


def is_test(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    name = path.name
    return (
        {"tests", "test"}.intersection(parts[:-1]) != set()
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
    )


def module_name(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_file(path: Path, module: str) -> File:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    docstrings = docstring_lines(tree)
    code, comments = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in SKIPPED_TOKENS:
            code.update(range(token.start[0], token.end[0] + 1))
    code -= docstrings
    file = File(path, module, len(source.splitlines()), code, len(comments), len(docstrings), tree)
    collect_functions(file, tree, qualifier="", public=True, nested=False)
    return file


def docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTION)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines.update(range(first.lineno, first.end_lineno + 1))
    return lines


def collect_functions(file: File, parent: ast.AST, qualifier: str, public: bool, nested: bool) -> None:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, FUNCTION):
            if not any(ending_name(d) == "overload" for d in node.decorator_list):
                file.functions.append(describe_function(file, node, qualifier, public, nested))
            collect_functions(file, node, f"{qualifier}{node.name}.", public=False, nested=True)
        elif isinstance(node, ast.ClassDef):
            shown = public and not node.name.startswith("_")
            collect_functions(file, node, f"{qualifier}{node.name}.", shown, nested)
        else:
            collect_functions(file, node, qualifier, public, nested)


def describe_function(file: File, node: ast.AST, qualifier: str, public: bool, nested: bool) -> Function:
    return Function(
        where=f"{file.path}:{node.lineno} {qualifier}{node.name}",
        length=sum(line in file.code for line in range(node.lineno, node.end_lineno + 1)),
        public=public and not nested and not node.name.startswith("_"),
        nested=nested,
        documented=ast.get_docstring(node) is not None,
        annotated=is_annotated(node),
    )


def is_annotated(node: ast.AST) -> bool:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if named and named[0].arg in {"self", "cls", "mcs", "metacls"}:
        named = named[1:]
    named += [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    returns = node.returns is not None or node.name == "__init__"
    return returns and all(argument.annotation is not None for argument in named)


def ending_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


# ---- imports -------------------------------------------------------------------------------------------------


def import_graph(files: list[File], package: str, lazy: bool = False) -> dict[str, set[str]]:
    """Edges to the module an import names; a parent's `__init__` counts only when it is itself named."""
    known = {file.module for file in files}
    graph = {}
    for file in files:
        targets: set[str] = set()
        for node in imports_of(file.tree, lazy):
            targets |= imported_modules(node, file, package, known)
        graph[file.module] = targets - {file.module}
    return graph


def imports_of(tree: ast.AST, lazy: bool):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, FUNCTION) and not lazy:
            continue
        elif isinstance(node, ast.If) and ending_name(node.test) == "TYPE_CHECKING":
            for child in node.orelse:
                yield from imports_of(ast.Module([child], []), lazy)
        else:
            yield from imports_of(node, lazy)


def imported_modules(node: ast.AST, file: File, package: str, known: set[str]) -> set[str]:
    if isinstance(node, ast.Import):
        return {found for alias in node.names if (found := nearest(strip(alias.name, package), known))}
    if node.level:
        here = file.module.split(".")
        here = here if file.path.name == "__init__.py" else here[:-1]
        here = here[: len(here) - (node.level - 1)]
        base = ".".join([*here, node.module] if node.module else here)
    else:
        base = strip(node.module or "", package)
    if base.split(".")[0] != package:
        return set()
    targets = set()
    for alias in node.names:
        member = f"{base}.{alias.name}"
        found = member if member in known else nearest(base, known)
        targets |= {found} if found else set()
    return targets


def strip(name: str, package: str) -> str:
    """`src.pkg.mod` -> `pkg.mod`, for packages imported under a longer path."""
    parts = name.split(".")
    return ".".join(parts[parts.index(package) :]) if package in parts[:2] else name


def nearest(name: str, known: set[str]) -> str | None:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def cycles_in(graph: dict[str, set[str]]) -> list[list[str]]:
    """Tarjan's strongly connected components with more than one module, largest first."""
    index, low, stack, on_stack, groups = {}, {}, [], set(), []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        on_stack.add(module)
        for target in sorted(graph.get(module, ())):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in on_stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            group = []
            while not group or group[-1] != module:
                group.append(stack.pop())
                on_stack.discard(group[-1])
            if len(group) > 1:
                groups.append(sorted(group))

    sys.setrecursionlimit(max(10_000, 10 * len(graph)))
    for module in sorted(graph):
        if module not in index:
            visit(module)
    return sorted(groups, key=len, reverse=True)


def rooms_graph(graph: dict[str, set[str]]) -> dict[str, Counter]:
    rooms: dict[str, Counter] = defaultdict(Counter)
    for module, targets in graph.items():
        for target in targets:
            if room(module) != room(target):
                rooms[room(module)][room(target)] += 1
    return rooms


def room(module: str) -> str:
    """The first folder or file below the package; the package's own `__init__` is the front door."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "(front door)"


def broken_layers(files: list[File], package: str, layers: list[list[str]]) -> list[str]:
    """Imports, function-level ones too, from a floor to one above it or to another room on the same floor."""
    floor = {name: number for number, rooms in enumerate(layers) for name in rooms}
    broken = []
    for module, targets in import_graph(files, package, lazy=True).items():
        for target in sorted(targets):
            source, goal = room(module), room(target)
            if source == "(front door)" or source == goal:
                continue
            if goal == "(front door)":
                broken.append(f"{module} imports the front door {target}; import the module that holds the name")
            elif source not in floor or goal not in floor:
                broken.append(f"{module} imports {target}: room not in --layers")
            elif floor[goal] >= floor[source]:
                broken.append(f"{module} (floor {floor[source]}) imports {target} (floor {floor[goal]})")
    return broken


# ---- measuring -----------------------------------------------------------------------------------------------


def measure(root: Path, package: Path, files: list[File]) -> dict:
    filled = [file for file in files if file.code]
    functions = [function for file in files for function in file.functions]
    outer = [function for function in functions if not function.nested]
    public = [function for function in functions if function.public]
    code = sum(len(file.code) for file in files)
    comments = sum(file.comments for file in files)
    docstrings = sum(file.docstrings for file in files)
    lengths = sorted(function.length for function in functions)
    sizes = sorted(file.lines for file in filled)
    largest = max(filled, key=lambda file: file.lines, default=None)
    graph = import_graph(files, package.name)
    tests = test_code_lines(root)
    return {
        "files": len(files),
        "files with code": len(filled),
        "code lines": code,
        "file length median": int(median(sizes)) if sizes else 0,
        "file length max": sizes[-1] if sizes else 0,
        "files over 500": sum(size > 500 for size in sizes),
        "largest file": str(largest.path.relative_to(root)) if largest else "",
        "functions": len(functions),
        "function length median": int(median(lengths)) if lengths else 0,
        "function length 95th": lengths[int(0.95 * (len(lengths) - 1))] if lengths else 0,
        "function length max": lengths[-1] if lengths else 0,
        "functions over 50": sum(length > 50 for length in lengths),
        "public functions": len(public),
        "public documented": share(public, lambda function: function.documented),
        "public annotated": share(public, lambda function: function.annotated),
        "annotated": share(outer, lambda function: function.annotated),
        "import cycles": cycles_in(graph),
        "import cycles lazy": len(cycles_in(import_graph(files, package.name, lazy=True))),
        "comment share": round(comments / max(1, code + comments), 3),
        "docstring share": round(docstrings / max(1, code + comments + docstrings), 3),
        "test code lines": tests,
        "test to code": round(tests / max(1, code), 2),
    }


def share(functions: list[Function], holds) -> float:
    return round(sum(map(holds, functions)) / len(functions), 3) if functions else 0.0


def test_code_lines(root: Path) -> int:
    total = 0
    for path in python_files(root):
        if is_test(path, root):
            try:
                total += len(read_file(path, path.stem).code)
            except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
                continue
    return total


def print_report(report: dict, files: list[File], arguments: argparse.Namespace) -> None:
    for name, value in report.items():
        if name == "unreadable files":
            value = f"{len(value)}" + (f" ({value[0]})" if value else "")
        if name == "import cycles":
            value = f"{len(value)}" + (f" (modules in each: {[len(group) for group in value]})" if value else "")
        print(f"{name:>24}  {value}")
    for group in report["import cycles"]:
        print("   cycle:", ", ".join(group[:8]), "…" if len(group) > 8 else "")

    longest = sorted((f for file in files for f in file.functions), key=lambda f: -f.length)
    for function in longest[:12]:
        if function.length > arguments.long:
            print(f"   long: {function.length:4d}  {function.where}")

    if arguments.rooms:
        graph = import_graph(files, arguments.package.resolve().name)
        for source, targets in sorted(rooms_graph(graph).items()):
            print(f"   {source} -> " + ", ".join(f"{target} ({count})" for target, count in targets.most_common()))


if __name__ == "__main__":
    sys.exit(main())
