"""The house of the package: who may import whom, and how files look."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import scalesearch

PACKAGE = Path(scalesearch.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A place is a folder, or a file at the top; it imports only from lower floors or from itself.
FLOORS = {
    0: ("errors", "plugins", "units", "arch"),
    1: ("files", "cost", "nn", "necks"),
    2: ("population", "scaling", "history"),
    3: ("interfaces", "training", "report"),
    4: ("spaces", "samplers", "evaluators", "datasets", "executors", "exporters"),
    5: ("study",),
    6: ("cli",),
}
FLOOR_OF = {place: floor for floor, places in FLOORS.items() for place in places}
# The words that a whole floor speaks: its neighbours may import these.
SHARED = ("errors", "interfaces", "plugins")
# The door of the package hands out names of every floor.
FREE = ("__init__", "__main__")
PLUGINS = ("necks", "samplers", "evaluators", "datasets", "executors", "exporters")

# Packages that are slow to load, and the places whose job they are.
HEAVY = {
    "torch": (
        "nn/",
        "cost/measured",
        "cost/latency/",
        "training/",
        "evaluators/",
        "datasets/",
        "exporters/",
    ),
    "torchvision": ("datasets/", "nn/weight_files"),
    "timm": ("nn/",),
    "effdet": ("nn/weight_files",),
    "faster_coco_eval": ("training/",),
    "ray": ("executors/",),
    "optuna": ("samplers/", "history/record", "history/optuna_internals"),
    "fvcore": ("cost/measured",),
    "pandas": ("report/", "history/", "study/"),
    "matplotlib": ("report/",),
    "mlxtend": ("datasets/",),
    "onnx": ("exporters/",),
    "onnxruntime": ("exporters/",),
    "pydantic": ("study/",),
    "rich": ("cli/",),
    "typer": ("cli/",),
    "jinja2": ("report/",),
}
# Single files that hold what their folder must not.
ALSO = {("torch", "study/assess"), ("torch", "executors/_gpus"), ("optuna", "study/context")}
# Names for annotations alone, which are never loaded.
ANNOTATIONS = {("torch", "interfaces"), ("optuna", "interfaces"), ("torch", "study/estimate")}

# Modules without a test file of their own, and the one that shows what they do.
SHOWN_BY = {
    "__init__": "test_house",
    "__main__": "cli/test_main",
    "interfaces": "executors/test_contract",
    "nn/build": "nn/test_backbone",
    "nn/weight_files": "nn/test_weights",
    "cost/chain": "cost/test_closed_form",
    "cost/measured_memory": "cost/test_measured",
    "cost/recorder": "cost/test_neck",
    "datasets/_boxes": "datasets/test_coco",
    "datasets/_folder": "datasets/test_image_folder",
    "datasets/_idx": "datasets/test_fashion_mnist",
    "datasets/_resize": "datasets/test_image_folder",
    "exporters/__init__": "exporters/test_python",
    "exporters/_export_task": "exporters/test_python",
    "exporters/_facts": "exporters/test_onnx",
    "exporters/_onnx_file": "exporters/test_onnx",
    "exporters/_python_file": "exporters/test_python",
    "exporters/_torch_network": "exporters/test_torch_export",
    "executors/_crew": "executors/test_contract",
    "executors/_gpus": "executors/test_cluster",
    "executors/_holding": "executors/test_contract",
    "executors/_quiet": "executors/test_cluster",
    "executors/_tune": "executors/test_contract",
    "report/sections": "report/test_page",
    "report/tasks": "report/test_page",
    "history/optuna_internals": "history/test_record",
    "samplers/_whole_space": "samplers/test_samplers",
    "spaces/listed": "spaces/test_feasible",
    "spaces/slot": "spaces/test_backbone",
    "spaces/space": "spaces/test_backbone",
    "training/run": "training/test_loop",
    "study/checks": "study/test_detection",
    "study/checkpoints": "study/test_run",
    "study/context": "study/test_run",
    "study/inputs": "study/test_phases",
    "study/options": "study/test_load",
    "study/parts": "study/test_load",
    "study/schema": "study/test_load",
}


@dataclass(frozen=True)
class Import:
    """One import statement of a module, wherever in it that stands."""

    module: str
    name: str
    line: int


def module_of(path: Path) -> str:
    """`cost/closed_form` for `scalesearch/cost/closed_form.py`."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def place_of(module: str) -> str:
    return module.split("/")[0]


def imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                yield Import(node.module or "", alias.name, node.lineno)


def own_place(found: Import) -> str | None:
    """The place within scalesearch that is imported; None for another package."""
    parts = f"{found.module}.{found.name}".split(".")
    if parts[0] != "scalesearch":
        return None
    place = parts[1]
    # `import scalesearch` and `from scalesearch import __version__` take the door itself.
    return place if place in FLOOR_OF else "__init__"


def may_import(module: str, place: str) -> bool:
    """Whether a module may import something of a place."""
    own = place_of(module)
    if own in FREE or place == own:
        return True
    if place == "__init__":
        return FLOOR_OF[own] >= 4  # the version, in files that a run leaves behind
    if own == "study" and place in PLUGINS:
        return False
    below = FLOOR_OF[place] < FLOOR_OF[own]
    return below or (place in SHARED and FLOOR_OF[place] == FLOOR_OF[own])


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_look_down(path):
    module = module_of(path)
    wrong = [
        f"{module}:{found.line} imports {found.module}"
        for found in imports(path)
        if (place := own_place(found)) and not may_import(module, place)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_heavy_packages_are_imported_where_their_job_is(path):
    module = module_of(path)
    wrong = []
    for found in imports(path):
        package = found.module.split(".")[0]
        allowed = HEAVY.get(package)
        if allowed is None or {(package, module)} & (ALSO | ANNOTATIONS):
            continue
        if not any(f"{module}/".startswith(where) or module == where for where in allowed):
            wrong.append(f"{module}:{found.line} imports {found.module}")
    assert wrong == []


@pytest.mark.parametrize(("package", "module"), sorted(ANNOTATIONS))
def test_names_for_annotations_are_never_loaded(package, module):
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    checked = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    ]
    everywhere = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in everywhere:
        if package in ast.unparse(node).split() and node not in checked:
            raise AssertionError(f"{module}:{node.lineno} loads {package}")


def test_the_rules_themselves_see_what_is_forbidden():
    assert not may_import("arch/walk", "cost")
    assert not may_import("cost/closed_form", "nn")
    assert not may_import("samplers/tpe", "spaces")
    assert not may_import("study/loop", "samplers")
    assert may_import("study/loop", "plugins")
    assert may_import("spaces/coefficients", "scaling")
    assert may_import("training/loop", "interfaces")
    assert may_import("__init__", "study")


def test_every_place_has_a_floor():
    places = {place_of(module_of(path)) for path in FILES} - set(FREE)
    assert places == set(FLOOR_OF)


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


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_are_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert path.stem not in {"utils", "util", "helpers", "common", "manager", "misc"}
    tree = ast.parse(text)
    assert not text or ast.get_docstring(tree), "a module says in its first line what it holds"
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node, text) > 50
    ]
    assert long == []
    for mark in ("TO" + "DO", "FIX" + "ME", "X" * 3):
        assert mark not in text


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> int:
    """Lines of a function with its docstring, blank lines and comments left out."""
    lines = text.splitlines()[function.lineno - 1 : function.end_lineno]
    first = function.body[0]
    said = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if said else 0
    return sum(bool(s := line.strip()) and not s.startswith("#") for line in lines) - docstring


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_what_is_public_says_what_it_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [name for name, node in public(tree) if not ast.get_docstring(node)]
    assert silent == []


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes of a module, and public methods that override none."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            own = isinstance(node, ast.ClassDef) and not node.bases
            for inner in node.body if own else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_module_has_its_tests(path):
    module = module_of(path)
    folder = (TESTS / module).parent
    if path.stem == "__init__" and not path.read_text(encoding="utf-8"):
        return
    allowed = [folder / f"test_{path.stem.strip('_')}.py"]
    if module in SHOWN_BY:
        allowed.append(TESTS / f"{SHOWN_BY[module]}.py")
    elif folder.name in PLUGINS and not path.stem.startswith("_"):
        # One contract for all plug-ins of a folder.
        allowed += [folder / "test_contract.py", folder / f"test_{folder.name}.py"]
    assert any(test.exists() for test in allowed), f"{allowed[0]} is missing"


def test_every_test_file_tests_a_module_that_exists():
    for test in sorted(TESTS.rglob("test_*.py")):
        name, folder = test.stem.removeprefix("test_"), test.parent.relative_to(TESTS)
        if folder == Path() or name in ("contract", folder.name):
            continue
        homes = [PACKAGE / folder / f"{name}.py", PACKAGE / folder / f"_{name}.py"]
        assert any(home.exists() for home in homes), f"{test} tests nothing of the package"


def test_allowed_exceptions_are_still_needed():
    modules = {module_of(path) for path in FILES}
    assert set(SHOWN_BY) <= modules
    for package, module in ALSO | ANNOTATIONS:
        found = {one.module.split(".")[0] for one in imports(PACKAGE / f"{module}.py")}
        assert package in found, f"{module} no longer imports {package}"
