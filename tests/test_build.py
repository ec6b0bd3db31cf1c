"""The build: its record, its degraded modes, the rules its sources keep, and that the CPU levels agree to the bit."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from lowlight_ext import kernels_compiled
from lowlight_ext.kernels_compiled import call

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".h", ".cpp", ".cu"})
HEADERS = sorted((ROOT / "csrc" / "core").glob("*.h"))

needs_module = pytest.mark.skipif(call._C is None, reason=f"no compiled module: {kernels_compiled.recorded()}")

# prints one digest of everything the CPU kernels compute
DIGEST = """
import hashlib, torch
import lowlight_ext as ext
from lowlight_ext import kernels_compiled
from lowlight_ext.kernels_compiled.call import CODES
sha = hashlib.sha256()
def feed(*tensors):
    for x in tensors:
        sha.update(x.contiguous().flatten().view(torch.uint8).numpy().tobytes())
with ext.use_backend("cpp"):
    for dtype in CODES:
        shape = (2, 3, 12, 523 * 2)
        x, eps, center, last = (ext.normal(shape, s, origin=(5, 3), stream=s, dtype=dtype) for s in range(4))
        feed(x, eps, center, last, ext.uniform(shape, 4, dtype=dtype))
        for affine in (False, True):
            bands = ext.haar_dwt2d(x, normalise=affine)
            feed(bands, ext.haar_idwt2d(bands, denormalise=affine))
        levels = kernels_compiled.haar_wavedec2d(x, 1)
        feed(*levels, kernels_compiled.haar_waverec2d(levels))
        rows = torch.linspace(-1, 1, 16).reshape(2, 8)
        for given in ({"seed": 7}, {"noise": last}, {"seed": torch.tensor([7, -1])}):
            options = {"center": center, "x0_previous": last, "clip": (-1, 1), "return_x0": True}
            feed(*ext.diffusion_step(x, eps, rows, **options, **given))
            t, table = torch.tensor([3, -1]), torch.linspace(1, 0.01, 9)
            feed(*ext.anchored_q_sample(x, t, table, center=center, return_noise=True, **given))
        feed(*kernels_compiled.diffusion_step_backward(x, eps, x, eps, rows, None, -1.0, 1.0))
print(ext.build_info()["cpu_level"], sha.hexdigest())
"""


def run(command, cwd, **environment):
    """A command in another process; not in the repository, whose packages would hide the installed ones."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy_of_source(tmp_path):
    """What a build needs, without what an earlier build left."""
    target = tmp_path / "source"
    ignore = shutil.ignore_patterns("_C*", "_build_info.json", "__pycache__", "*.egg-info")
    for name in ("csrc", "lowlight_ext", "python"):
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, target)
    return target


def build(source, mode, **environment):
    command = [sys.executable, "setup.py", "build", "--build-base", "out", "--build-lib", "lib"]
    return run(command, source, LOWLIGHT_EXT_BUILD=mode, **environment)


# an editable installation finds lowlight_ext._C for whatever package of that name is imported
PLAIN_IMPORTS = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
"""


def ask(source, code):
    """The answer of a Python process that imports what `build` left in lib/."""
    done = run([sys.executable, "-c", PLAIN_IMPORTS + code], source.parent, PYTHONPATH=str(source / "lib"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_missing_part_has_a_reason():
    record = kernels_compiled.recorded()
    assert record["requested"] in ("auto", "cpu", "cuda", "off", None)
    for part in ("cpu", "cuda"):
        assert (part in record["built"]) != bool(record["reason"].get(part)), record
    assert ("cpu" in record["built"]) == (call._C is not None)
    assert (
        kernels_compiled.available("cpu", "haar_dwt2d") is None
        or len(kernels_compiled.available("cpu", "haar_dwt2d")) > 10
    )
    assert "no compiled kernels for mps" in kernels_compiled.available("mps", "haar_dwt2d")


@needs_module
def test_build_info_names_compiler_and_levels():
    info = kernels_compiled.build_info()
    assert info["loaded"]
    assert re.fullmatch(r"\S+ \d+\.\d+.*", info["compiler"])
    levels = info["cpu_levels"].split()
    assert levels[0] == "baseline"
    assert info["cpu_level"] in levels


STABLE = re.match(r"cpython-\d+d?-", sysconfig.get_config_var("SOABI") or "")
# one call of a kernel, on memory of Python's own: the words of Philox4x32-10 for a counter and a key of zeros
BARE = """
import array, sys
sys.path.insert(0, sys.argv[1])
import _C
counter, key, words = array.array("q", 4 * [0]), array.array("q", 2 * [0]), array.array("q", 4 * [0])
_C.philox(*(numbers.buffer_info()[0] for numbers in (counter, key, words)), 1)
print(*(f"{word & 0xFFFFFFFF:08x}" for word in words), _C.max_levels, _C.build_info()["cpu_level"])
"""


@needs_module
@pytest.mark.skipif(not STABLE, reason="no stable ABI for this Python")
def test_module_keeps_to_the_stable_abi_of_python_3_10():
    abi3info = pytest.importorskip("abi3info", reason="needs abi3info, of the extra [test]")
    if sys.platform != "linux" or shutil.which("nm") is None:
        pytest.skip("needs nm as it is on Linux")
    assert call._C.__file__.endswith(".abi3.so")
    listed = run(["nm", "-D", "--undefined-only", call._C.__file__], ROOT).stdout
    used = set(re.findall(r"U (_?Py\w+)", listed))
    since = {symbol.name: entry.added for symbol, entry in (abi3info.FUNCTIONS | abi3info.DATAS).items()}
    assert "PyModule_Create2" in used
    # Py_NewRef came with 3.10
    assert [name for name in sorted(used) if name not in since or since[name] > since["Py_NewRef"]] == []


@needs_module
@pytest.mark.skipif(not STABLE, reason="no stable ABI for this Python")
def test_other_pythons_load_the_same_module(tmp_path):
    """Those on PATH, without torch."""
    seen = {}
    for minor in range(10, 20):
        python = shutil.which(f"python3.{minor}")
        done = run([python, "-c", BARE, str(Path(call._C.__file__).parent)], tmp_path) if python else None
        # 126 and 127: a shell script in the place of a Python that is not there
        if done and done.returncode not in (126, 127):
            assert done.returncode == 0, done.stderr
            seen[minor] = done.stdout
    if set(seen) <= {sys.version_info.minor}:
        pytest.skip("no other Python on PATH")
    # known answer of the authors of Philox
    level = call._C.build_info()["cpu_level"]
    assert set(seen.values()) == {f"6627e8d5 e169c58d bc57ac4c 9b00dbd8 {call._C.max_levels} {level}\n"}


def test_metadata_of_the_installed_package():
    distribution = importlib.metadata.distribution("lowlight-ext")
    required = [r for r in distribution.requires if "extra ==" not in r]
    names = {re.match(r"[\w-]+", r).group().lower() for r in required}
    light = {"torch", "numpy", "pillow", "safetensors", "typer", "rich", "pyyaml", "filelock", "platformdirs"}
    assert names == light
    assert {"train", "eval", "lpips", "raw", "demo", "test"} <= set(distribution.metadata.get_all("Provides-Extra"))
    scripts = [e for e in distribution.entry_points if e.group == "console_scripts"]
    assert [(e.name, e.value) for e in scripts] == [("lowlight", "lowlight.cli:main")]


def test_no_source_includes_torch():
    assert len(SOURCES) > 15
    for path in SOURCES:
        for include in re.findall(r'#\s*include\s*[<"]([^>"]+)', path.read_text()):
            assert not re.match(r"(torch|ATen|c10)\b", include), f"{path}: {include}"


@pytest.mark.parametrize("header", HEADERS, ids=lambda p: p.name)
def test_core_header_compiles_alone(header, tmp_path):
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    unit = tmp_path / "unit.cpp"
    unit.write_text(f'#include "{header}"\n')
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-fsyntax-only"]
    done = run([*compiler.split(), *flags, str(unit)], tmp_path)
    assert done.returncode == 0, done.stderr


@needs_module
def test_cpu_levels_give_the_same_bits(tmp_path):
    levels = call._C.build_info()["cpu_levels"].split()
    if len(levels) == 1:
        pytest.skip(f"this CPU runs one level, {levels[0]}")
    digests = {}
    for level in levels:
        done = run([sys.executable, "-c", DIGEST], tmp_path, LOWLIGHT_EXT_CPU_LEVEL=level)
        assert done.returncode == 0, done.stderr
        used, digests[level] = done.stdout.split()
        assert used == level
    assert len(set(digests.values())) == 1, digests


@needs_module
def test_unknown_cpu_level_is_refused(tmp_path):
    code = "from lowlight_ext.kernels_compiled import build_info; build_info()"
    done = run([sys.executable, "-c", code], tmp_path, LOWLIGHT_EXT_CPU_LEVEL="avx9000")
    assert done.returncode != 0
    assert "LOWLIGHT_EXT_CPU_LEVEL" in done.stderr
    assert "got 'avx9000'" in done.stderr


def test_switched_off_build_works_on_the_reference(copy_of_source):
    done = build(copy_of_source, "off")
    assert done.returncode == 0, done.stderr
    assert "WARNING: lowlight_ext: no cpu kernels: switched off" in done.stderr
    assert not list(copy_of_source.glob("lib/lowlight_ext/_C*"))
    answer = ask(
        copy_of_source,
        "import torch, lowlight_ext as e; x = torch.arange(16.).reshape(1, 1, 4, 4);"
        "print(e.__file__); print(e.backends()['cpp']); print(torch.equal(e.haar_idwt2d(e.haar_dwt2d(x)), x))",
    ).splitlines()
    assert Path(answer[0]).is_relative_to(copy_of_source / "lib")
    assert "LOWLIGHT_EXT_BUILD=off" in answer[1]
    assert answer[2] == "True"


def test_missing_compiler_is_recorded_or_refused(copy_of_source):
    done = build(copy_of_source, "auto", CXX="/no/such/compiler")
    assert done.returncode == 0, done.stderr
    assert "no cpu kernels: cmake failed" in done.stderr
    reason = ask(copy_of_source, "import lowlight_ext as e; print(e.backends()['cpp'])")
    assert "/no/such/compiler" in reason

    refused = build(copy_of_source, "cpu", CXX="/no/such/compiler")
    assert refused.returncode != 0
    assert "LOWLIGHT_EXT_BUILD=cpu: cmake failed" in refused.stderr


@pytest.fixture
def small_build(tmp_path):
    """built_module over sources whose "compiler" only copies one of them; returns what the module holds."""
    source, cache = tmp_path / "csrc", tmp_path / "build"
    source.mkdir()
    shutil.copy2(ROOT / "csrc" / "build_module.py", source)
    (source / "kernel.cpp").write_text("1")
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.24)\nproject(small LANGUAGES NONE)\n"
        "if(EXISTS ${CMAKE_SOURCE_DIR}/wrong)\n  message(FATAL_ERROR wrong)\nendif()\n"
        "configure_file(kernel.cpp _C.so COPYONLY)\n"
        'file(WRITE ${CMAKE_BINARY_DIR}/build_info.json "{}")\n'
    )
    code = "import sys, pathlib; sys.path.insert(0, 'csrc'); from build_module import built_module;"
    code += f"print(built_module(sys.argv[1], pathlib.Path({str(cache)!r}))[0].read_text())"

    def make(mode="auto", **environment):
        return run([sys.executable, "-c", code, mode], tmp_path, **environment)

    make.source, make.cache = source, cache
    return make


def test_the_same_sources_are_compiled_once(small_build):
    """A second installation takes what the first one built; a changed source, mode or flag is built anew."""
    small_build()
    again = small_build()
    assert "holds what was built" in again.stdout
    assert "cmake" not in again.stdout
    (small_build.source / "kernel.cpp").write_text("2")
    for done in (small_build(), small_build("cpu"), small_build(CXXFLAGS="-Os")):
        assert "holds what was built" not in done.stdout
        assert done.stdout.endswith("2\n"), done.stderr
    assert len(list(small_build.cache.iterdir())) == 4
    assert {p.name for p in small_build.cache.glob("*/*")} == {"_C.so", "build_info.json"}


def test_a_failed_build_is_not_taken_for_a_finished_one(small_build):
    (small_build.source / "wrong").touch()
    for _ in range(2):
        failed = small_build()
        assert "BuildFailed: cmake failed: CMake Error" in failed.stderr
        assert "holds what was built" not in failed.stdout


@pytest.mark.skipif(not kernels_compiled.recorded()["requested"], reason="lowlight_ext is not installed")
def test_python_in_the_root_of_a_clone_is_warned(copy_of_source, tmp_path):
    """There the unbuilt sources hide the installed package; anywhere else nothing is said."""
    code = PLAIN_IMPORTS + "import lowlight_ext as e; print(e.backends()['cpp'])"
    hidden = run([sys.executable, "-c", code], copy_of_source)
    assert "not installed by its setup.py" in hidden.stdout
    assert f"unbuilt sources in {copy_of_source / 'lowlight_ext'}" in hidden.stderr
    assert "pip install -e ." in hidden.stderr
    assert hidden.stderr.count("RuntimeWarning") == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "RuntimeWarning" not in run([sys.executable, "-c", "import lowlight_ext"], elsewhere).stderr


def test_unknown_build_mode_is_refused(copy_of_source):
    done = build(copy_of_source, "gpu")
    assert done.returncode != 0
    assert "LOWLIGHT_EXT_BUILD: takes one of auto, cpu, cuda, off, got 'gpu'" in done.stderr


def test_source_distribution_holds_what_the_build_needs(copy_of_source):
    code = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    done = run([sys.executable, "-c", code], copy_of_source)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(copy_of_source.glob("dist/*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {str(p.relative_to(ROOT)) for p in SOURCES} | {"csrc/CMakeLists.txt", "setup.py"} <= names
    assert not [name for name in names if name.endswith((".so", "_build_info.json", ".pyc"))]


@pytest.mark.skipif(not STABLE, reason="no stable ABI for this Python")
def test_one_wheel_serves_all_pythons(copy_of_source):
    """Its tag; and what an earlier Python's module in a clone, which would be loaded first, does not hide."""
    code = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    done = run([sys.executable, "-c", code], copy_of_source, LOWLIGHT_EXT_BUILD="off")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"lowlight_ext-[\d.]+-cp310-abi3-\w+\.whl", done.stdout.splitlines()[-1])
    stale = copy_of_source / "lowlight_ext" / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    stale.touch()
    done = run([sys.executable, "setup.py", "build_ext", "--inplace"], copy_of_source, LOWLIGHT_EXT_BUILD="off")
    assert done.returncode == 0, done.stderr
    assert not stale.exists()
    assert '"requested": "off"' in (copy_of_source / "lowlight_ext" / "_build_info.json").read_text()
