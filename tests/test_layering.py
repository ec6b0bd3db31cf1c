"""Imports point one way: commands -> enhance -> systems -> networks -> lowlight_ext's public names -> kernels."""

import ast
import re
from pathlib import Path

import pytest

import lowlight_ext

ROOT = Path(__file__).resolve().parent.parent
EXT, PYTHON, CSRC = ROOT / "lowlight_ext", ROOT / "python" / "lowlight", ROOT / "csrc"

# modules of `lowlight` from the ground up: each may import those of its own line and of the lines above it
LAYERS = (
    (
        "image_codecs",
        "image_io",
        "checkpoint_files",
        "contact_sheet",
        "schedules",
        "losses",
        "perceptual",
        "perceptual_files",
        "perceptual_trunks",
        "metrics",
        "raw_metrics",
        "tiling",
    ),
    ("conditioning", "anchored_schedules", "exposure_process", "raw"),
    ("data", "networks", "sampling", "baselines"),
    ("systems",),
    ("checkpoint_anlightendiff", "checkpoint_exposure"),
    ("checkpoints", "training"),
    (
        "enhance",
        "expose",
        "evaluate",
        "raw_evaluate",
        "raw_classical",
        "score_files",
        "raw_score_files",
        "step_study",
        "raw_step_plot",
    ),
    ("__init__", "commands", "cli", "demo", "__main__"),
)
# system.enhance(picture) is the same door as lowlight.enhance, offered as a method
DOORS = {("systems/base.py", "enhance")}
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


def layer(module):
    for rank, names in enumerate(LAYERS):
        if module in names:
            return rank
    pytest.fail(f"lowlight.{module} has no place yet: add it to LAYERS in {Path(__file__).name}")


def needs_checkout(folder):
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not beside the tests: not a checkout")


def test_operators_know_nothing_of_models():
    for file, target in imports_of(EXT, "lowlight_ext"):
        assert target.split(".")[0] != "lowlight", f"lowlight_ext/{file} imports {target}"


def test_the_reference_is_plain_pytorch():
    allowed = {"torch", "math", "collections", "lowlight_ext"}
    for file, target in imports_of(EXT / "reference", "reference"):
        assert target.split(".")[0] in allowed, f"reference/{file} imports {target}"
        if target.startswith("lowlight_ext"):
            assert target.startswith("lowlight_ext.reference."), f"reference/{file} imports {target}"


def test_kernels_do_not_know_the_operators():
    for file, target in imports_of(EXT / "kernels_compiled", "kernels_compiled"):
        known = target == "lowlight_ext._C" or target.split(".")[1:2] in (["kernels_compiled"], ["layouts"])
        assert known or not target.startswith("lowlight_ext"), f"kernels_compiled/{file} imports {target}"


def test_triton_kernels_know_triton_and_torch_only():
    allowed = {"torch", "triton", "math", "struct", "dataclasses", "lowlight_ext"}
    for file, target in imports_of(EXT / "kernels_triton", "kernels_triton"):
        assert target.split(".")[0] in allowed, f"kernels_triton/{file} imports {target}"
        if target.startswith("lowlight_ext"):
            known = target.split(".")[1] in ("kernels_triton", "layouts")
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
    for file, target in imports_of(PYTHON, "lowlight"):
        own, parts = file.split("/")[0].removesuffix(".py"), target.split(".")
        if parts[0] != "lowlight" or len(parts) < 2 or parts[1] == own or (file, parts[1]) in DOORS:
            continue
        # `from . import x` of a name, not of a module, is a name of the package itself
        known = (PYTHON / parts[1]).is_dir() or (PYTHON / f"{parts[1]}.py").exists()
        assert layer(parts[1] if known else "__init__") <= layer(own), f"lowlight/{file} imports {target}"


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
    """Each kind of import is seen by the parser above."""
    (tmp_path / "systems").mkdir()
    source = "import a.b\nfrom ..enhance import enhance\n"
    source += "def f():\n    from . import base\n    from lowlight_ext import testing"
    (tmp_path / "systems" / "x.py").write_text(source)
    seen = {target for _, target in imports_of(tmp_path, "lowlight")}
    assert seen == {"a.b", "lowlight.enhance.enhance", "lowlight.systems.base", "lowlight_ext.testing"}
