// lowlight_ext._C: tensors and numbers in, CPU loops and CUDA launches out; knows nothing of torch, and of Python only
// the limited API of 3.10, so that one module serves every later version
#include "call.h"
#include "fingerprint.h"
#include "tensors.h"

#if defined(__linux__)
#    include <sys/mman.h>
#    include <unistd.h>
#endif

#if defined(_OPENMP)
#    include <omp.h>
#endif

#include "cpu/kernels.h"
#if defined(LOWLIGHT_CUDA)
#    include "call_cuda.h"
#endif

namespace lowlight {

// indices into a table of `length` rows: on the CPU nothing else keeps a wrong one from being read
static void check_times(const char* op, const int64_t* t, int64_t n, int64_t lowest, int64_t length) {
    for (int64_t i = 0; t && i < n; ++i)
        if (t[i] < lowest || t[i] >= length)
            throw std::out_of_range(std::string(op) + ": t must lie in [" + std::to_string(lowest) + ", " +
                                    std::to_string(length) + "), got " + std::to_string(t[i]));
}

template <class A>
static void check(const A&) {}
static void check(const StepArguments& a) {
    check_times("diffusion_step", a.t, a.size.batch, 0, a.row_count);
}
static void check(const StepGradients& a) {
    check_times("diffusion_step", a.t, a.batch, 0, a.row_count);
}
static void check(const ForwardArguments& a) {
    check_times("anchored_q_sample", a.t, a.size.batch, INT64_MIN, a.length);
}
static void check(const ForwardGradients& a) {
    check_times("anchored_q_sample", a.t, a.batch, INT64_MIN, a.length);
}

// the loop of the level in use, with the fields of its arguments
template <class A, void (*Kernels::*kLoop)(const A&)>
static PyObject* on_cpu(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) {
        A a = given.all<A>();
        given.end(), check(a);
        const Kernels& chosen = kernels();
        if (!(chosen.*kLoop)) throw std::runtime_error("this CPU, or the level in use, is without AVX512-BF16");
        Py_BEGIN_ALLOW_THREADS;
        (chosen.*kLoop)(a);
        Py_END_ALLOW_THREADS;
        Py_RETURN_NONE;
    });
}

#if defined(LOWLIGHT_CUDA)
#    define LOWLIGHT_ROW(name, A)                                                                                   \
        static PyObject* cuda_##name(PyObject*, PyObject* const* values, Py_ssize_t count) {                        \
            return guarded(values, count, [](Arguments given) { return on_cuda<A>(#name, launch_##name, given); }); \
        }
LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
#    undef LOWLIGHT_ROW
#endif

// fresh memory above a few MiB is written first by a kernel: huge pages spare most of the page faults
static PyObject* advise_huge_pages(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) {
        uint64_t start, bytes;
        given(start), given(bytes), given.end();
#if defined(MADV_HUGEPAGE)
        uint64_t page = uint64_t(sysconf(_SC_PAGESIZE)), first = (start + page - 1) & ~(page - 1);
        // advice only: a kernel that does not take it changes nothing
        if (start + bytes > first)
            madvise(reinterpret_cast<void*>(first), (start + bytes - first) & ~(page - 1), MADV_HUGEPAGE);
#endif
        Py_RETURN_NONE;
    });
}

static PyObject* build_info(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) {
        given.end();
#if defined(_OPENMP)
        Reference openmp(PyLong_FromLong(_OPENMP));
        int threads = omp_get_max_threads();
#else
        Reference openmp(Py_NewRef(Py_None));
        int threads = 1;
#endif
        return Py_BuildValue("{s:s,s:s,s:s,s:O,s:O,s:i}", "compiler", LOWLIGHT_COMPILER, "cpu_level", kernels().level,
                             "cpu_levels", runnable_levels(), "cpu_bfloat16",
                             kernels().winograd_half ? Py_True : Py_False, "openmp", openmp.object, "threads", threads);
    });
}

static PyMethodDef functions[] = {
#define LOWLIGHT_ROW(name, Arguments) fast_call(#name, on_cpu<Arguments, &Kernels::name>),
    LOWLIGHT_OPERATORS(LOWLIGHT_ROW) LOWLIGHT_CPU_OPERATORS(LOWLIGHT_ROW) LOWLIGHT_BFLOAT16_OPERATORS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
#if defined(LOWLIGHT_CUDA)
#    define LOWLIGHT_ROW(name, Arguments) fast_call("cuda_" #name, cuda_##name),
        LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
#    undef LOWLIGHT_ROW
#    define LOWLIGHT_ROW(name, Arguments) fast_call("cuda_" #name "_workspace", workspace_of<Arguments, size_##name>),
            LOWLIGHT_WORKSPACES(LOWLIGHT_ROW)
#    undef LOWLIGHT_ROW
                fast_call("cuda_runtime_version", number<cuda_runtime_version>),
    fast_call("cuda_driver_version", number<cuda_driver_version>),
    fast_call("cuda_device_count", number<cuda_device_count>),
    fast_call("cuda_problem", problem),
#endif
    fast_call("alike", alike),
    fast_call("fits", fits),
    fast_call("ordinary", ordinary),
    fast_call("within", within),
    fast_call("fingerprint", fingerprint),
    fast_call("advise_huge_pages", advise_huge_pages),
    fast_call("build_info", build_info),
    {nullptr, nullptr, 0, nullptr}};

static const char kAbout[] = "compiled kernels of lowlight_ext; use them through lowlight_ext.kernels_compiled";
static PyModuleDef definition{PyModuleDef_HEAD_INIT, "_C", kAbout, -1, functions, nullptr, nullptr, nullptr, nullptr};

}  // namespace lowlight

PyMODINIT_FUNC PyInit__C() {
    PyObject* module = PyModule_Create(&lowlight::definition);
    if (module && PyModule_AddIntConstant(module, "max_levels", lowlight::kMaxLevels) < 0) {
        Py_DECREF(module);
        return nullptr;
    }
    return module;
}
