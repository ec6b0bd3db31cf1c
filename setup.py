"""Builds lowlight_ext/_C from csrc/ (csrc/build_module.py does it); everything else is in pyproject.toml.

LOWLIGHT_EXT_BUILD=auto  (default) build what can be built; a missing compiler or nvcc is reported and recorded
                   cpu   the CPU kernels only; failing to build them fails the installation
                   cuda  CPU and CUDA kernels; failing to build either fails the installation
                   off   nothing: the package works on its reference backend
The outcome is recorded in lowlight_ext/_build_info.json, which lowlight_ext.build_info() reads. What was built before
of the same sources by the same tools is taken from build/ again.
"""

import json
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
MODES = ("auto", "cpu", "cuda", "off")
# csrc/CMakeLists.txt compiles one module for this Python and all later ones; without the lock there is no stable ABI
STABLE = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

sys.path.insert(0, str(ROOT / "csrc"))
from build_module import BuildFailed, built_module  # noqa: E402


class CMakeBuild(build_ext):
    """Replaces the compile step of the one extension module by CMake, and records how it went."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("LOWLIGHT_EXT_BUILD", "auto").lower()
        if mode not in MODES:
            raise SystemExit(f"LOWLIGHT_EXT_BUILD: takes one of {', '.join(MODES)}, got {mode!r}")
        info = {"requested": mode, "built": [], "reason": {}}
        if mode == "off":
            off = "switched off at build time by LOWLIGHT_EXT_BUILD=off"
            info["reason"] = {"cpu": off, "cuda": off}
        else:
            info.update(self.attempt(mode, target))
        for part, reason in info["reason"].items():
            print(f"\n*** WARNING: lowlight_ext: no {part} kernels: {reason}\n", file=sys.stderr, flush=True)
        (target.parent / "_build_info.json").write_text(json.dumps(info, indent=2) + "\n")

    def attempt(self, mode: str, target: Path) -> dict:
        """What was built and why the rest was not; ends the installation where an explicit request fails."""
        try:
            return self.compile(mode, target)
        except BuildFailed as failure:
            if mode != "auto":
                raise SystemExit(f"LOWLIGHT_EXT_BUILD={mode}: {failure}") from None
            first = str(failure)
        # it may be nvcc alone that fails
        try:
            return self.compile("cpu", target) | {"reason": {"cuda": first}}
        except BuildFailed as failure:
            return {"reason": {"cpu": str(failure), "cuda": first}}

    def compile(self, mode: str, target: Path) -> dict:
        """Builds the module and copies it to `target`; returns what CMake says it built."""
        module, info = built_module(mode, ROOT / "build")
        shutil.copy2(module, target)
        return info

    def copy_extensions_to_source(self) -> None:
        """For what builds elsewhere first: the record belongs beside the module; one of another name would hide it."""
        for stale in ROOT.glob("lowlight_ext/_C*"):
            stale.unlink()
        super().copy_extensions_to_source()
        package = self.get_finalized_command("build_py").get_package_dir("lowlight_ext")
        built = Path(self.build_lib) / "lowlight_ext" / "_build_info.json"
        shutil.copy2(built, ROOT / package)


def readme(home: str) -> str:
    """README.md for a package index, where relative links lead nowhere: below `home`, a repository's address."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not home:
        return text
    text = re.sub(r'(!\[[^]]*\]\(|<img src=")(?!https?:)', rf"\1{home}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\1{home}/blob/main/", text)


home = os.environ.get("LOWLIGHT_EXT_HOME", "").rstrip("/")
links = {"Documentation": "/tree/main/docs", "Changes": "/blob/main/CHANGELOG.md", "Source": "", "Issues": "/issues"}
setup(
    author="The lowlight_ext maintainers",
    author_email=os.environ.get("LOWLIGHT_EXT_EMAIL"),
    # optional: setuptools accepts that the module is missing after a build that recorded why
    ext_modules=[Extension("lowlight_ext._C", sources=[], optional=True, py_limited_api=STABLE)],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if STABLE else {},
    cmdclass={"build_ext": CMakeBuild},
    long_description=readme(home),
    long_description_content_type="text/markdown",
    project_urls={name: home + path for name, path in links.items()} if home else {},
)
