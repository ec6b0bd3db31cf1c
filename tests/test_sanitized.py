"""The formulas of csrc/core with UndefinedBehaviorSanitizer: no arithmetic that C++ leaves undefined (.ci/sanitize)."""

import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[1] / "csrc"

# counts of all means, by words of every kind: candidates whose height under the hat is negative are among them
PROGRAM = """
#include <cstdio>
#include "core/poisson.h"
using namespace lowlight;
int main() {
    double sum = 0;
    int negative = 0;
    uint32_t state = 1;
    auto words = [&](uint32_t, uint32_t) { return state = state * 1664525u + 1013904223u; };
    for (float mean = 0.5f; mean < 1e7f; mean *= 1.5f)
        for (int i = 0; i < 20000; ++i) {
            sum += poisson(mean, words);
            if (mean < kInversionBelow) continue;
            Hat hat = poisson_hat(mean);
            Candidate candidate = poisson_candidate(mean, hat, words(0, 0));
            negative += candidate.count < 0;
            sum += poisson_accepts(mean, hat, candidate, words(0, 0));
        }
    for (uint32_t word : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) sum += normal_pair(word, ~word).sine;
    std::printf("%d %g", negative > 0, sum);
}
"""


def test_no_undefined_arithmetic(tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no compiler")
    (tmp_path / "a.cpp").write_text(PROGRAM)
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = [compiler, *flags, f"-I{CSRC}", str(tmp_path / "a.cpp"), "-o", str(tmp_path / "a")]
    built = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip("the compiler has no sanitizer")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([tmp_path / "a"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("1 ")
