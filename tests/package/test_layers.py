"""The layers hold: by what every module imports (late imports too), and by what is loaded at run time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "choline_tui"

FLOORS = (
    ("kernel",),
    ("model",),
    ("vast", "ssh", "codestate", "store", "config", "secrets", "notify", "survey"),
    ("provision",),
    ("places",),
    ("engine",),
    ("services",),
    ("cli", "app", "actions", "screens", "widgets"),
)
"""from the ground up; on the floor of the outside things nobody imports a neighbour"""

BESIDE = {"remote": {"kernel"}, "simulator": {"kernel"}}
"""what stands beside the floors may import only this, and is imported by nobody"""

ABOVE_THE_SOCKET = {"services", "cli", "app", "actions", "screens", "widgets"}
BELOW_THE_SOCKET = {"engine", "places", "provision", "vast", "ssh", "codestate", "notify"}
"""services and faces reach these through the engine's socket only"""

LATE = {
    # the program that becomes the engine, and the one that becomes the rehearsal market, start here:
    # the process that imports them is that program and no face any more
    ("cli", "choline_tui.engine.main"),
    ("cli", "choline_tui.simulator.serve"),
}
"""allowed, inside a function only: (importing part, module)"""

FACE_NEVER_LOADS = (
    "httpx",
    "asyncssh",
    "git",
    "choline_tui.vast",
    "choline_tui.ssh",
    "choline_tui.codestate",
    "choline_tui.provision",
    "choline_tui.places",
    "choline_tui.engine",
    "choline_tui.simulator",
)

FLOOR_OF = {name: level for level, names in enumerate(FLOORS) for name in names}


def part_of(module: str) -> str:
    """The folder (or top module) of ours that a dotted name lies in; '' for the package itself."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else ""


def module_name(file: Path, top: Path = PACKAGE) -> str:
    pieces = ("choline_tui", *file.relative_to(top).with_suffix("").parts)
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


def imports(source: str, module: str, is_package: bool) -> list[tuple[str, int, bool]]:
    """Modules of ours that ``source`` imports: name, line, and whether inside a function."""
    found: list[tuple[str, int, bool]] = []
    parts = {p.name for p in PACKAGE.iterdir()} | {p.stem for p in PACKAGE.glob("*.py")}

    def visit(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inner = late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = module.split(".")
                    above = above[: len(above) - child.level + (1 if is_package else 0)]
                    base = ".".join([*above, base] if base else above)
                # "from choline_tui import vast", and "from choline_tui.engine import main"
                whole = base == "choline_tui" or base.count(".") == 1
                names = [
                    f"{base}.{alias.name}"
                    if whole and (base != "choline_tui" or alias.name in parts)
                    else base
                    for alias in child.names
                ]
            elif (
                isinstance(child, ast.Call)
                and getattr(child.func, "attr", getattr(child.func, "id", ""))
                in ("import_module", "__import__")
                and child.args
                and isinstance(child.args[0], ast.Constant)
            ):
                names = [str(child.args[0].value)]
            found.extend(
                (name, getattr(child, "lineno", 0), inner)
                for name in names
                if name == "choline_tui" or name.startswith("choline_tui.")
            )
            visit(child, inner)

    visit(ast.parse(source), False)
    return found


def trespass(importer: str, target: str, late: bool) -> str:
    """Why ``importer`` may not import ``target``; '' when it may."""
    here, there = part_of(importer), part_of(target)
    if here == there or not there or there == "__main__":
        return ""
    if late and any(here == part and target.startswith(module) for part, module in LATE):
        return ""
    if here in BESIDE:
        return "" if there in BESIDE[here] else f"{here}/ may import only {sorted(BESIDE[here])}"
    if there in BESIDE:
        return f"nobody imports {there}/"
    if here == "__main__":
        return "" if there == "cli" else "only cli/"
    if not here:
        return "the package itself imports nothing"
    if here not in FLOOR_OF or there not in FLOOR_OF:
        return f"{here if here not in FLOOR_OF else there} is on no floor of the design"
    if FLOOR_OF[there] > FLOOR_OF[here]:
        return f"upwards, from {here}/ to {there}/"
    if FLOOR_OF[there] == FLOOR_OF[here] and "vast" in FLOORS[FLOOR_OF[here]]:
        return f"sideways, from {here}/ to {there}/"
    if here in ABOVE_THE_SOCKET and there in BELOW_THE_SOCKET:
        return f"{here}/ reaches {there}/ through the engine's socket only"
    return ""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_import_obeys_the_floors() -> None:
    wrong = []
    for file in modules():
        name = module_name(file)
        for target, line, late in imports(file.read_text("utf-8"), name, file.name == "__init__.py"):
            reason = trespass(name, target, late)
            if reason:
                wrong.append(f"{file.relative_to(ROOT)}:{line}: {target}: {reason}")
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source", "fine"),
    [
        ("choline_tui.vast.client", "from choline_tui.ssh import keys", False),
        ("choline_tui.vast.client", "from choline_tui.model.offer import Offer", True),
        ("choline_tui.vast.client", "def f():\n    import choline_tui.engine.core", False),
        ("choline_tui.model.offer", "from choline_tui import store", False),
        ("choline_tui.model.offer", "from ..store import db", False),
        ("choline_tui.model.offer", "from .query import Query", True),
        ("choline_tui.kernel.lease", "from choline_tui.model import run", False),
        ("choline_tui.remote.main", "from choline_tui.kernel import lease", True),
        ("choline_tui.remote.main", "from choline_tui.model import run", False),
        ("choline_tui.simulator.market", "from choline_tui.vast import client", False),
        ("choline_tui.services.choline", "from choline_tui.engine.core import Engine", False),
        ("choline_tui.services.choline", "from choline_tui.store import Store", True),
        ("choline_tui.engine.core", "from choline_tui.simulator.market import Market", False),
        ("choline_tui.cli.commands", "from choline_tui.simulator.serve import main", False),
        ("choline_tui.cli.commands", "def f():\n    from choline_tui.simulator.serve import main", True),
        ("choline_tui.cli.commands", "def f():\n    from choline_tui.simulator import serve", True),
        ("choline_tui.cli.commands", "def f():\n    from choline_tui.engine.core import Engine", False),
        ("choline_tui.cli.commands", "import_module('choline_tui.vast.client')", False),
        ("choline_tui.oddity.x", "from choline_tui.kernel import errors", False),
        ("choline_tui.cli.commands", "from choline_tui import __version__", True),
    ],
)
def test_the_check_itself_tells_right_from_wrong(module: str, source: str, fine: bool) -> None:
    seen = imports(source, module, False)
    assert seen
    assert fine == (not any(trespass(module, target, late) for target, _, late in seen))


def test_all_folders_of_the_package_have_a_floor() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    assert folders - {"__pycache__", "styles"} <= set(FLOOR_OF) | set(BESIDE)


def loaded_by(code: str, *flags: str) -> set[str]:
    """Names in ``sys.modules`` of a fresh interpreter after ``code``."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, *flags, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def everything_in(*folders: str) -> str:
    """Code that imports every module of these folders (a program's ``__main__`` apart)."""
    names = [module_name(f) for part in folders for f in sorted((PACKAGE / part).rglob("*.py"))]
    return "\n".join(f"import {name}" for name in names if not name.endswith("__main__"))


def test_faces_and_services_never_load_what_only_the_engine_uses() -> None:
    code = everything_in(*[part for part in sorted(ABOVE_THE_SOCKET) if (PACKAGE / part).is_dir()])
    code += "".join(f"\nimport choline_tui.{f.stem}" for f in PACKAGE.glob("app.py"))
    loaded = loaded_by(code)
    assert "choline_tui.services" in loaded
    wrong = {m for m in loaded for no in FACE_NEVER_LOADS if m == no or m.startswith(no + ".")}
    assert not wrong


@pytest.mark.parametrize("folders", [("kernel",), ("kernel", "remote")])
def test_kernel_and_remote_need_the_standard_library_only(folders: tuple[str, ...]) -> None:
    # -I -S: no site-packages to find anything else in
    loaded = loaded_by(everything_in(*folders), "-I", "-S")
    tops = {name.partition(".")[0] for name in loaded} - {"choline_tui", "__main__"}
    assert tops <= set(sys.stdlib_module_names), tops - set(sys.stdlib_module_names)
    parts = {part_of(name) for name in loaded if name.startswith("choline_tui.")}
    assert parts == set(folders)


def test_kernel_and_remote_are_python_3_8_to_the_parser() -> None:
    wrong = []
    for part in ("kernel", "remote"):
        for file in sorted((PACKAGE / part).rglob("*.py")):
            try:
                ast.parse(file.read_text("utf-8"), feature_version=(3, 8))
            except SyntaxError as error:
                wrong.append(f"{file.relative_to(ROOT)}:{error.lineno}: {error.msg}")
    assert not wrong


def test_version_loads_next_to_nothing() -> None:
    loaded = loaded_by("from choline_tui.cli import main\nmain(['--version'])")
    ours = {name for name in loaded if name.startswith("choline_tui")}
    assert ours == {"choline_tui", "choline_tui.cli"}
    assert not loaded & {"pydantic", "asyncio", "textual", "argparse", "typing"}
