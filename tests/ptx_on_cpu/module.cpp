// the launchers of one .cu file as a Python module: what bindings.cpp has of them
#include "../../csrc/call_cuda.h"

namespace lowlight {

#define LOWLIGHT_ROW(name, A)                                                                                   \
    static PyObject* cuda_##name(PyObject*, PyObject* const* values, Py_ssize_t count) {                        \
        return guarded(values, count, [](Arguments given) { return on_cuda<A>(#name, launch_##name, given); }); \
    }
PTX_LAUNCHERS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW

static PyMethodDef functions[] = {
#define LOWLIGHT_ROW(name, A) fast_call("cuda_" #name, cuda_##name),
    PTX_LAUNCHERS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
#define LOWLIGHT_ROW(name, A) fast_call("cuda_" #name "_workspace", workspace_of<A, size_##name>),
        PTX_WORKSPACES(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
            {nullptr, nullptr, 0, nullptr}};

}  // namespace lowlight

PyMODINIT_FUNC PyInit_program() {
    static PyModuleDef module = {
        PyModuleDef_HEAD_INIT, "program", nullptr, -1, lowlight::functions, nullptr, nullptr, nullptr, nullptr};
    return PyModule_Create(&module);
}
