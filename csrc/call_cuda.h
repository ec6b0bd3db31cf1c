// Python's arguments -> a launch
#pragma once

#include "call.h"
#include "cuda/launchers.h"

namespace lowlight {

// the launch, with the fields of its arguments, the number of the device and the address of a stream
template <class A>
PyObject* on_cuda(const char* name, const char* (*launch)(const A&, Place), Arguments given) {
    A a = given.all<A>();
    Place place = given.all<Place>();
    given.end();
    if (const char* problem = launch(a, place)) throw std::runtime_error(std::string(name) + " on CUDA: " + problem);
    Py_RETURN_NONE;
}

template <class A, int64_t (*kSize)(const A&)>
PyObject* workspace_of(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) {
        A a = given.all<A>();
        given.end();
        return PyLong_FromLongLong(kSize(a));
    });
}

}  // namespace lowlight
