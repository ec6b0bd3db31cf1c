// lowlight_ext._C: tensors and numbers in, CPU loops and CUDA launches out; knows nothing of torch
#include <pybind11/pybind11.h>

#include <vector>

#include "call.h"
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

namespace py = pybind11;

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

static PyMethodDef functions[] = {
#define LOWLIGHT_ROW(name, Arguments) fast_call(#name, on_cpu<Arguments, &Kernels::name>),
    LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
    LOWLIGHT_CPU_OPERATORS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
#if defined(LOWLIGHT_CUDA)
#    define LOWLIGHT_ROW(name, Arguments) fast_call("cuda_" #name, cuda_##name),
        LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
#    undef LOWLIGHT_ROW
#    define LOWLIGHT_ROW(name, Arguments) fast_call("cuda_" #name "_workspace", workspace_of<Arguments, size_##name>),
            LOWLIGHT_WORKSPACES(LOWLIGHT_ROW)
#    undef LOWLIGHT_ROW
#endif
                fast_call("alike", alike),
    fast_call("fits", fits),
    fast_call("ordinary", ordinary),
    fast_call("within", within),
    {nullptr, nullptr, 0, nullptr}};

// fresh memory above a few MiB is written first by a kernel: huge pages spare most of the page faults
static void advise_huge_pages(uintptr_t start, uint64_t bytes) {
#if defined(MADV_HUGEPAGE)
    uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), first = (start + page - 1) & ~(page - 1);
    // advice only: a kernel that does not take it changes nothing
    if (start + bytes > first)
        madvise(reinterpret_cast<void*>(first), (start + bytes - first) & ~(page - 1), MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}

static py::dict build_info() {
    py::dict info;
    info["compiler"] = LOWLIGHT_COMPILER;
    info["cpu_level"] = kernels().level;
    info["cpu_levels"] = std::string(runnable_levels());
#if defined(_OPENMP)
    info["openmp"] = _OPENMP;
    info["threads"] = omp_get_max_threads();
#else
    info["openmp"] = py::none();
    info["threads"] = 1;
#endif
    return info;
}

}  // namespace lowlight

PYBIND11_MODULE(_C, module) {
    using namespace lowlight;
    module.doc() = "compiled kernels of lowlight_ext; use them through lowlight_ext.kernels_compiled";
    if (PyModule_AddFunctions(module.ptr(), functions)) throw py::error_already_set();
    module.attr("max_levels") = kMaxLevels;
    module.def("build_info", build_info);
    module.def("advise_huge_pages", advise_huge_pages);
#if defined(LOWLIGHT_CUDA)
    module.def("cuda_runtime_version", cuda_runtime_version);
    module.def("cuda_driver_version", cuda_driver_version);
    module.def("cuda_device_count", cuda_device_count);
    module.def("cuda_problem", cuda_problem);
#endif
}
