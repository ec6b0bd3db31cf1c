#!/usr/bin/env bash
# Everything that is owed to a machine with an NVIDIA GPU, in one command: build, all tests, compute-sanitizer, bench.
#
#   bench/on_gpu.sh             runs it; needs a GPU, a CUDA toolkit and `pip install '.[test]'` done once
#   bench/on_gpu.sh STEP ...    these steps alone, after `build` and `kernels` once; each is made for under ten minutes
#   bench/on_gpu.sh --dry-run   says what would run here, and what would be skipped and why; runs nothing
#
# Steps, the most telling first, so that a short loan ends with the least missing: build kernels bits bench systems
# replay study graphs memcheck tests racecheck. A step that takes more than LOWLIGHT_STEP_SECONDS (600) is stopped; what it has
# written stays.
#
# Logs go to build/on_gpu/, the bench's files to bench/results/. Exit status: 0 where every step passed, 1 where one
# failed or could not run, 2 on a machine without a GPU. PYTHON names the interpreter (default: python3).
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
logs=$PWD/build/on_gpu
dry=no
known=" build kernels bits bench systems replay study graphs memcheck tests racecheck "
[ "${1:-}" = --dry-run ] && dry=yes && shift
for word in "$@"; do
    case "$known" in
        *" $word "*) ;;
        *) echo "on_gpu.sh: STEP must be one of$known, got '$word'" >&2; exit 2 ;;
    esac
done
wanted=" ${*:-$known} "

gpu=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")' 2>/dev/null)
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
echo "GPU: ${gpu:-none that torch can use}   nvcc: ${nvcc:-none}   compute-sanitizer: ${sanitizer:-none}"
if [ -z "$gpu" ] && [ $dry = no ]; then
    echo "on_gpu.sh: torch finds no CUDA device; --dry-run shows what would run" >&2
    exit 2
fi

summary=()
status=0

# step NAME REASON COMMAND...: runs the command, or says why not where there is a REASON; its status is the command's
step() {
    local name=$1 reason=$2 code=0 start=$SECONDS
    shift 2
    [[ $wanted == *" $name "* ]] || return 0
    echo
    echo "== $name: $*"
    if [ -n "$reason" ]; then
        summary+=("$name: SKIPPED, $reason")
        status=1
        [ $dry = yes ] || code=1
    elif [ $dry = yes ]; then
        summary+=("$name: would run")
    else
        mkdir -p "$logs"
        timeout --kill-after=10 "${LOWLIGHT_STEP_SECONDS:-600}" "$@" 2>&1 | tee "$logs/$name.log"
        code=${PIPESTATUS[0]}
        summary+=("$name: $([ "$code" = 0 ] && echo passed || echo "FAILED with status $code"), $((SECONDS - start)) s")
        [ "$code" = 0 ] || status=1
    fi
    return "$code"
}

no_gpu=$([ -n "$gpu" ] || echo "no GPU")
no_nvcc=$([ -n "$nvcc" ] || echo "no nvcc")
no_sanitizer=$([ -n "$sanitizer" ] || echo "no compute-sanitizer")

# from tests/, so that Python imports what was installed and not the sources beside it
pytest=(env -C tests "$python" -m pytest -q -p no:cacheprovider)

# every test of a CUDA kernel; those of host code and of compilers have nothing to watch
watched=(. --ignore-glob='test_cuda_host*.py' --ignore-glob='test_cuda_code*.py' --ignore-glob='test_ptx*.py')
watch=(env -C tests "${sanitizer:-compute-sanitizer}" --error-exitcode 9 --target-processes all
    --kernel-regex kns=lowlight_kernel)

# tests that skip every CUDA kernel would pass: nothing runs before the package says that it has them
if step build "${no_gpu:-$no_nvcc}" \
    env LOWLIGHT_EXT_BUILD=cuda "$python" -m pip install --no-build-isolation --no-deps . &&
    step kernels "$no_gpu" env -C tests "$python" -c \
        'import lowlight_ext as e, sys; print(e.build_info()); sys.exit(e.backends()["cuda"])'; then
    # what stands on the CPU alone until now: every operator bit by bit, on small sizes
    step bits "$no_gpu" "${pytest[@]}" -x -k cuda test_operators.py test_noise.py test_step.py test_haar.py test_norm.py
    step bench "$no_gpu" "$python" bench/run.py --device cuda
    step systems "$no_gpu" "$python" bench/systems.py --device cuda --seconds 3 --dtype float32 bfloat16
    step replay "$no_gpu" "$python" bench/graphs.py --device cuda --dtype float32 bfloat16
    step study "$no_gpu" "$python" -m lowlight study ddpm_on_dim_small --scenes 512 -o "$logs/study"
    step graphs "$no_gpu" "${pytest[@]}" test_cuda.py test_cuda_norm.py
    # without torch's cache every tensor is an allocation of its own, whose end is seen; graphs need the cache
    step memcheck "${no_gpu:-$no_sanitizer}" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "${watch[@]}" --tool memcheck \
        "$python" -m pytest -q -p no:cacheprovider "${watched[@]}" -k 'cuda and not graph'
    step tests "$no_gpu" "${pytest[@]}" --slow .
    step racecheck "${no_gpu:-$no_sanitizer}" "${watch[@]}" --tool racecheck \
        "$python" -m pytest -q -p no:cacheprovider "${watched[@]}" -k cuda
fi

echo
printf '%s\n' "${summary[@]}"
[ $dry = yes ] && exit 0
echo "logs: $logs"
exit $status
