"""The house of the package: who may import whom, and what is written down where."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import scalesearch

PACKAGE = Path(scalesearch.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A place is a folder, or a file at the top; it imports only from lower floors or from itself.
FLOORS = {
    0: ("errors", "plugins", "units", "text", "arch"),
    1: ("files", "cost", "nn", "necks"),
    2: ("population", "scaling", "history", "view"),
    3: ("interfaces", "contracts", "training", "report", "prediction"),
    4: ("spaces", "samplers", "evaluators", "datasets", "executors", "exporters"),
    5: ("study",),
    6: ("cli",),
}
FLOOR_OF = {place: floor for floor, places in FLOORS.items() for place in places}
# The words that a whole floor speaks: its neighbours may import these.
SHARED = ("errors", "interfaces", "contracts", "plugins", "text")
# The door of the package hands out names of every floor.
FREE = ("__init__", "__main__")
PLUGINS = ("necks", "samplers", "evaluators", "datasets", "executors", "exporters")

# Packages that are slow to load, and the places (folders or files) whose job they are.
HEAVY = {
    "torch": (
        *("nn", "training", "evaluators", "datasets", "exporters", "study/assess", "view"),
        *("cost/any_module", "cost/measured", "cost/measured_memory", "cost/latency"),
        *(
            "cost/operators",
            "cost/factory",
            "cost/factory_dimensions",
            "cost/factory_outputs",
            "executors/serial",
        ),
    ),
    "torchvision": ("datasets", "training/policies", "nn/weight_files", "nn/library_models"),
    "timm": ("nn",),
    "effdet": ("nn/weight_files",),
    "faster_coco_eval": ("training",),
    "ray": ("executors",),
    "optuna": ("samplers", "history/record", "history/optuna_internals", "study/context"),
    "fvcore": ("cost/measured", "cost/operators"),
    "pandas": ("report", "history", "study", "files/results_table"),
    "matplotlib": ("report",),
    "pyarrow": ("datasets/_arrow_images",),
    "onnx": ("exporters",),
    "onnxruntime": ("exporters",),
    "pydantic": ("study", "datasets/_coco_annotations", "datasets/_split"),
    "rich": ("cli",),
    "typer": ("cli",),
    "jinja2": ("report",),
}


@dataclass(frozen=True)
class Import:
    """One import statement of a module, wherever in it that stands."""

    module: str
    name: str
    line: int
    loaded: bool  # not for annotations alone


def module_of(path: Path) -> str:
    """`cost/closed_form` for `scalesearch/cost/closed_form.py`."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    annotations = {
        id(inner)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    }
    found = []
    for node in ast.walk(tree_of(path)):
        loaded = id(node) not in annotations
        if isinstance(node, ast.Import):
            found += [Import(alias.name, "", node.lineno, loaded) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            module = node.module or ""
            found += [Import(module, alias.name, node.lineno, loaded) for alias in node.names]
    return tuple(found)


def own_place(found: Import) -> str | None:
    """The place within scalesearch that is imported; None for another package."""
    parts = f"{found.module}.{found.name}".split(".")
    if parts[0] != "scalesearch":
        return None
    # `import scalesearch` and `from scalesearch import __version__` take the door itself.
    return parts[1] if parts[1] in FLOOR_OF else "__init__"


def may_import(module: str, place: str) -> bool:
    """Whether a module may import something of a place."""
    own = module.split("/")[0]
    if own in FREE or place == own:
        return True
    if place == "__init__":
        return FLOOR_OF[own] >= 4  # the version, in files that a run leaves behind
    if own == "study" and place in PLUGINS:
        return False
    below = FLOOR_OF[place] < FLOOR_OF[own]
    return below or (place in SHARED and FLOOR_OF[place] == FLOOR_OF[own])


def may_load(module: str, package: str) -> bool:
    """Whether a module is where a heavy package has its job."""
    return any(module == place or module.startswith(f"{place}/") for place in HEAVY[package])


def test_imports_look_down():
    wrong = [
        f"{module_of(path)}:{found.line} imports {found.module}"
        for path in FILES
        for found in imports(path)
        if (place := own_place(found)) and not may_import(module_of(path), place)
    ]
    assert wrong == []


def test_heavy_packages_are_imported_where_their_job_is():
    wrong = [
        f"{module_of(path)}:{found.line} imports {found.module}"
        for path in FILES
        for found in imports(path)
        if (package := found.module.split(".")[0]) in HEAVY
        and found.loaded
        and not may_load(module_of(path), package)
    ]
    assert wrong == []


def test_no_place_is_allowed_what_it_does_not_need():
    used = {
        (found.module.split(".")[0], module_of(path)) for path in FILES for found in imports(path)
    }
    unused = [
        (package, place)
        for package, places in HEAVY.items()
        for place in places
        if not any(
            name == package and (module == place or module.startswith(f"{place}/"))
            for name, module in used
        )
    ]
    assert unused == []


def test_the_rules_themselves_see_what_is_forbidden():
    assert not may_import("arch/walk", "cost")
    assert not may_import("cost/closed_form", "nn")
    assert not may_import("samplers/tpe", "spaces")
    assert not may_import("study/loop", "samplers")
    assert may_import("study/loop", "plugins")
    assert may_import("spaces/coefficients", "scaling")
    assert may_import("training/loop", "interfaces")
    assert may_import("__init__", "study")
    assert not may_load("cost/closed_form", "torch")
    assert may_load("nn/blocks", "torch")


def test_every_place_has_a_floor():
    places = {module_of(path).split("/")[0] for path in FILES} - set(FREE)
    assert places == set(FLOOR_OF)


def test_no_module_imports_private_names_of_another():
    wrong = [
        f"{module_of(path)}:{found.line} imports {found.name} of {found.module}"
        for path in FILES
        for found in imports(path)
        if own_place(found) and found.name.startswith("_") and not found.name.startswith("__")
    ]
    assert wrong == []


def run_python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    heavy = [*HEAVY, "numpy", "yaml", "safetensors", "PIL"]
    code = f"import sys, scalesearch; print([m for m in {heavy!r} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_closed_form_costs_and_scaling_load_nothing_heavy():
    code = (
        "import sys, scalesearch as ss; from scalesearch.arch.published import published;"
        "net = published('efficientnet_b0'); ss.cost(net);"
        "ss.solve_phi(net, ss.Coefficients(1.2, 1.1, 1.15), flops=1e9);"
        f"print([m for m in {[*HEAVY, 'numpy']!r} if m in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_everything_public_can_be_had():
    assert sorted(scalesearch.__all__) == scalesearch.__all__
    for name in scalesearch.__all__:
        assert getattr(scalesearch, name) is not None
    assert set(scalesearch._LAZY) <= set(scalesearch.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = scalesearch.serach


def test_modules_say_what_they_hold():
    silent = [module_of(path) for path in FILES if not says(tree_of(path)) and path.read_text()]
    assert silent == []
    vague = {"utils", "util", "helpers", "common", "manager", "misc"}
    assert vague.isdisjoint(path.stem.strip("_") for path in FILES)
    marks = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    assert [module_of(p) for p in FILES if any(mark in p.read_text() for mark in marks)] == []


def test_what_is_public_says_what_it_is():
    silent = [
        f"{module_of(path)}: {name}"
        for path in FILES
        for name, node in public(tree_of(path))
        if not says(node)
    ]
    assert silent == []


def says(node: ast.AST) -> bool:
    return bool(ast.get_docstring(node))  # type: ignore[arg-type]


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes of a module, and public methods that override none."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            own = isinstance(node, ast.ClassDef) and not node.bases
            for inner in node.body if own else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def test_no_record_is_taken_apart_by_position():
    """Of more than four values nobody remembers the order: records are read by their fields."""
    wrong = [
        f"{module_of(path)}:{node.lineno} unpacks {len(node.elts)} values"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store) and len(node.elts) > 4
    ]
    assert wrong == []
