"""Imports point one way: files -> raw -> cameras -> data -> systems -> training, scoring -> enhance -> commands."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lowlight_ext

ROOT = Path(__file__).resolve().parent.parent
EXT, PYTHON, CSRC = ROOT / "lowlight_ext", ROOT / "python" / "lowlight", ROOT / "csrc"

# what lies at the root of `lowlight`, from the ground up: each may import those before it, be it eagerly, lazily or for
# types
ORDER = (
    "seeds",
    "memory",
    "files",
    "raw",
    "cameras",
    "scenes",
    "data",
    "diffusion",
    "metrics",
    "systems",
    "shipped",
    "exporting",
    "engines",
    "checkpoints",
    "hub",
    "training",
    "scoring",
    "study",
    "plots",
    "enhance",
    "expose",
    "video",
    "__init__",
    "demo",
    "serving",
    "cluster",
    "commands",
    "cli",
    "__main__",
)
# lines a file may have; a test's table of cases may be longer
LIMITS = {".py": 400, ".cpp": 400, ".cu": 400, ".h": 400, ".cuh": 400}
TEST_LIMIT = 500


def sources(folder, *suffixes):
    return [f for f in sorted(folder.rglob("*")) if f.suffix in suffixes]


def imported(path, package):
    """Absolute names of all that a file imports, also inside functions: `package.module.name`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def imports_of(folder, name):
    """(file relative to the folder, imported name) of a whole package."""
    for path in sources(folder, ".py"):
        inner = path.relative_to(folder)
        for target in sorted(imported(path, (name, *inner.parts[:-1]))):
            yield inner.as_posix(), target


def modules(folder):
    """Paths in a package as their imports name them: {("data", "sets", "pairs"), ("data", "sets", "__init__"), ...}."""
    return {path.relative_to(folder).with_suffix("").parts for path in sources(folder, ".py")}


def module_of(target, known):
    """The module in which an imported name lies: the longest prefix that is a file or a folder; the rest are names."""
    parts = tuple(target.split(".")[1:])
    places = (place for n in range(len(parts), -1, -1) for place in (parts[:n], (*parts[:n], "__init__")))
    return next(place for place in places if place in known)


def graph_of(folder):
    """{module: the modules of `lowlight` that it imports}."""
    known = modules(folder)
    graph = {module: set() for module in known}
    for file, target in imports_of(folder, "lowlight"):
        if target.split(".")[0] == "lowlight":
            graph[Path(file).with_suffix("").parts].add(module_of(target, known))
    return graph


def upward(graph):
    """Imports between what lies at the root that do not follow ORDER, as sentences."""
    assert {module[0] for module in graph} == set(ORDER), "ORDER names what lies at the root of lowlight, all of it"
    return [
        f"{'/'.join(module)} imports {'/'.join(target)}"
        for module, targets in graph.items()
        for target in targets
        if ORDER.index(target[0]) > ORDER.index(module[0])
    ]


def circle(graph):
    """The first circle that is found, as a list of nodes."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def side_by_side(graph, parent):
    """The graph of what lies side by side in a folder: modules, and subfolders as one node each."""
    nodes = {}
    for module, targets in graph.items():
        if module[: len(parent)] == parent:
            node = module[: len(parent) + 1]
            inside = {t[: len(parent) + 1] for t in targets if t[: len(parent)] == parent}
            nodes.setdefault(node, set()).update(inside - {node})
    return nodes


def needs_checkout(folder):
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not beside the tests: not a checkout")


def test_operators_know_nothing_of_models():
    for file, target in imports_of(EXT, "lowlight_ext"):
        assert target.split(".")[0] != "lowlight", f"lowlight_ext/{file} imports {target}"


def test_the_reference_is_plain_pytorch():
    allowed = {"torch", "math", "collections", "typing", "lowlight_ext"}
    assert {target.split(".")[0] for target in imported(EXT / "common.py", ())} <= allowed - {"lowlight_ext"}
    for file, target in imports_of(EXT / "reference", "reference"):
        assert target.split(".")[0] in allowed, f"reference/{file} imports {target}"
        if target.startswith("lowlight_ext"):
            known = target.split(".")[1] in ("reference", "common")
            assert known, f"reference/{file} imports {target}"


def test_kernels_do_not_know_the_operators():
    for file, target in imports_of(EXT / "kernels_compiled", "kernels_compiled"):
        if target.startswith("lowlight_ext."):
            known = target.split(".")[1] in ("_C", "common", "graphs", "kernels_compiled", "unbuilt")
            assert known, f"kernels_compiled/{file} imports {target}"


def test_triton_kernels_know_triton_and_torch_only():
    allowed = {"torch", "triton", "math", "struct", "collections", "dataclasses", "typing", "lowlight_ext"}
    for file, target in imports_of(EXT / "kernels_triton", "kernels_triton"):
        assert target.split(".")[0] in allowed, f"kernels_triton/{file} imports {target}"
        if target.startswith("lowlight_ext"):
            known = target.split(".")[1] in ("common", "graphs", "kernels_triton")
            assert known, f"kernels_triton/{file} imports {target}"


def test_models_use_public_names_only():
    needs_checkout(PYTHON)
    public = {f"lowlight_ext.{name}" for name in lowlight_ext.__all__} | {"lowlight_ext"}
    for file, target in imports_of(PYTHON, "lowlight"):
        if target.split(".")[0] == "lowlight_ext":
            assert target in public, f"lowlight/{file} imports {target}"
    for path in sources(PYTHON, ".py"):
        for used in re.findall(r"\blowlight_ext\.(\w+)", path.read_text()):
            assert used in lowlight_ext.__all__, f"{path.name} uses lowlight_ext.{used}"


def test_models_point_one_way():
    needs_checkout(PYTHON)
    assert upward(graph_of(PYTHON)) == []


def test_models_have_no_circles():
    """Neither between modules nor between subfolders, also inside functions and for types."""
    needs_checkout(PYTHON)
    graph = graph_of(PYTHON)
    assert circle(graph) == []
    for parent in {module[:-1] for module in graph} - {()}:
        assert circle(side_by_side(graph, parent)) == []


def test_packages_begin_with_imports_only():
    needs_checkout(PYTHON)
    for path in PYTHON.rglob("__init__.py"):
        if path.parent != PYTHON:
            assert len(ast.parse(path.read_text()).body) == 1, f"{path.relative_to(ROOT)} holds more than its docstring"


def test_the_compiled_module_knows_nothing_of_torch():
    needs_checkout(CSRC)
    for path in sources(CSRC, ".h", ".cpp", ".cu", ".cuh"):
        found = re.findall(r"#include\s*[<\"](?:torch|ATen|c10)\b.*", path.read_text())
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_files_are_short():
    for folder in (EXT, PYTHON, CSRC, ROOT / "bench", ROOT / "tests"):
        for path in sources(folder, *LIMITS) if folder.is_dir() else ():
            limit = TEST_LIMIT if folder.name == "tests" else LIMITS[path.suffix]
            assert len(path.read_text().splitlines()) <= limit, f"{path.relative_to(ROOT)} has more than {limit} lines"


def test_public_names_are_sorted_and_there():
    assert list(lowlight_ext.__all__) == sorted(lowlight_ext.__all__)
    for name in lowlight_ext.__all__:
        assert hasattr(lowlight_ext, name)


def test_the_rules_can_fail(tmp_path):
    """Each kind of import is seen by the parser above, and what points up or round is found."""
    for name in ORDER:
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "systems.py").unlink()
    for inner in ("", "a", "b"):
        (tmp_path / "systems" / inner).mkdir(exist_ok=True)
        (tmp_path / "systems" / inner / "__init__.py").touch()
    source = "import a.b\nfrom ..enhance import enhance\n"
    source += "def f():\n    from . import base\n    from lowlight_ext import testing\n"
    (tmp_path / "systems" / "x.py").write_text(source)
    seen = {target for _, target in imports_of(tmp_path, "lowlight")}
    assert seen == {"a.b", "lowlight.enhance.enhance", "lowlight.systems.base", "lowlight_ext.testing"}
    assert upward(graph_of(tmp_path)) == ["systems/x imports enhance"]
    assert circle(graph_of(tmp_path)) == []
    (tmp_path / "systems" / "base.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .x import f"
    )
    assert set(circle(graph_of(tmp_path))) == {("systems", "x"), ("systems", "base")}
    # folders may lie in a circle where no two modules do
    for inner, text in {"a/one": "from ..b import one", "b/one": "", "b/two": "from ..a.one import x"}.items():
        (tmp_path / "systems" / f"{inner}.py").write_text(text)
    (tmp_path / "systems" / "base.py").write_text("")
    assert circle(graph_of(tmp_path)) == []
    assert set(circle(side_by_side(graph_of(tmp_path), ("systems",)))) == {("systems", "a"), ("systems", "b")}
    (tmp_path / "upstairs.py").touch()
    with pytest.raises(AssertionError, match="ORDER names"):
        upward(graph_of(tmp_path))
