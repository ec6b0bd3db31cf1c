// what tensors tell Python of themselves, asked for by name: no torch header
#pragma once

#include <cfloat>

#include "call.h"

namespace lowlight {

// a reference to what Python gave; Raised where it gave an error instead
struct Reference {
    PyObject* object;
    explicit Reference(PyObject* given) : object(given) {
        if (!object) throw Raised{};
    }
    Reference(const Reference&) = delete;
    ~Reference() { Py_DECREF(object); }
    bool is(PyObject* other) const { return object == other; }
    bool equals(PyObject* other) const {
        int same = PyObject_RichCompareBool(object, other, Py_EQ);
        if (same < 0) throw Raised{};
        return same == 1;
    }
    bool holds() const {
        int truth = PyObject_IsTrue(object);
        if (truth < 0) throw Raised{};
        return truth == 1;
    }
};

#define LOWLIGHT_NAMED(name)                                                 \
    inline PyObject* name_##name() {                                         \
        static PyObject* const interned = PyUnicode_InternFromString(#name); \
        return interned;                                                     \
    }
LOWLIGHT_NAMED(shape)
LOWLIGHT_NAMED(dtype)
LOWLIGHT_NAMED(device)
LOWLIGHT_NAMED(layout)
LOWLIGHT_NAMED(is_cpu)
LOWLIGHT_NAMED(is_contiguous)
LOWLIGHT_NAMED(numel)
LOWLIGHT_NAMED(requires_grad)
LOWLIGHT_NAMED(raw_repr)
#undef LOWLIGHT_NAMED

// names of torch, which is there where a tensor is
struct Torch {
    Reference module{PyImport_ImportModule("torch")};
    Reference tensor{PyObject_GetAttrString(module.object, "Tensor")};
    Reference parameter{PyObject_GetAttrString(PyImport_AddModule("torch.nn"), "Parameter")};
    Reference strided{PyObject_GetAttrString(module.object, "strided")};
    Reference float32{PyObject_GetAttrString(module.object, "float32")};
    Reference float64{PyObject_GetAttrString(module.object, "float64")};
    Reference int64{PyObject_GetAttrString(module.object, "int64")};

    static const Torch& here() {
        static const Torch* const found = new Torch;
        return *found;
    }
};

// alike(x, *others): whether the others are None or dense and of x's shape, dtype and device
inline PyObject* alike(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) -> PyObject* {
        PyObject* const x = given.one();
        Reference shape(PyObject_GetAttr(x, name_shape())), dtype(PyObject_GetAttr(x, name_dtype()));
        Reference device(PyObject_GetAttr(x, name_device()));
        while (given.left) {
            PyObject* const other = given.one();
            if (other == Py_None || other == x) continue;
            if (!Reference(PyObject_GetAttr(other, name_dtype())).is(dtype.object) ||
                !Reference(PyObject_GetAttr(other, name_layout())).is(Torch::here().strided.object) ||
                !Reference(PyObject_GetAttr(other, name_shape())).equals(shape.object) ||
                !Reference(PyObject_GetAttr(other, name_device())).equals(device.object))
                Py_RETURN_FALSE;
        }
        Py_RETURN_TRUE;
    });
}

// fits(x, dtype, shape, device): whether x is dense, of this dtype and shape, and on the CPU or on this device
inline PyObject* fits(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) -> PyObject* {
        PyObject *const x = given.one(), *const dtype = given.one(), *const shape = given.one();
        PyObject* const device = given.one();
        given.end();
        if (!Reference(PyObject_GetAttr(x, name_layout())).is(Torch::here().strided.object) ||
            !Reference(PyObject_GetAttr(x, name_dtype())).is(dtype) ||
            !Reference(PyObject_GetAttr(x, name_shape())).equals(shape))
            Py_RETURN_FALSE;
        if (Reference(PyObject_GetAttr(x, name_is_cpu())).holds()) Py_RETURN_TRUE;
        return PyBool_FromLong(Reference(PyObject_GetAttr(x, name_device())).equals(device));
    });
}

// what `ordinary` asks torch: see registry.py
struct Witnesses {
    PyObject *function_mode, *profiled, *keys_of_thread, *threads, *keys_of, *cpu, *cuda, *source;

    bool no_mode() const {
        return !Reference(PyObject_CallNoArgs(function_mode)).holds() &&
               !Reference(PyObject_CallNoArgs(profiled)).holds() &&
               among(raw(PyObject_CallNoArgs(keys_of_thread)), threads);
    }
    static Reference raw(PyObject* keys) {
        return Reference(PyObject_CallMethodObjArgs(Reference(keys).object, name_raw_repr(), nullptr));
    }
    static bool among(const Reference& keys, PyObject* known) {
        int found = PySet_Contains(known, keys.object);
        if (found < 0) throw Raised{};
        return found == 1;
    }
};

// whether the tensors among arguments are ordinary ones, whether any requires a gradient, and what a check of shapes,
// dtypes and devices could see of the arguments, one after the other
struct Look {
    const Witnesses& ask;
    PyObject* seen[64];
    int count = 0;
    bool ordinary = true, differentiable = false;

    explicit Look(const Witnesses& ask) : ask(ask) {}
    Look(const Look&) = delete;
    ~Look() {
        while (count) Py_DECREF(seen[--count]);
    }
    void see(PyObject* what) {
        if (!what) throw Raised{};
        if (count == 64) throw std::invalid_argument("ordinary: takes fewer arguments");
        seen[count++] = what;
    }
    void at(PyObject* value) {
        const Torch& torch = Torch::here();
        PyObject* const type = reinterpret_cast<PyObject*>(Py_TYPE(value));
        if (type == torch.tensor.object || type == torch.parameter.object) {
            Reference keys = Witnesses::raw(PyObject_CallFunctionObjArgs(ask.keys_of, value, nullptr));
            bool cpu = Witnesses::among(keys, ask.cpu);
            ordinary = cpu || Witnesses::among(keys, ask.cuda);
            if (!ordinary) return;
            differentiable |= Reference(PyObject_GetAttr(value, name_requires_grad())).holds();
            see(PyObject_GetAttr(value, name_shape())), see(PyObject_GetAttr(value, name_dtype()));
            if (!cpu) see(PyObject_GetAttr(value, name_device()));
        } else if (type == ask.source && PyTuple_Size(value) > 0) {
            // where noise is drawn changes from call to call, and is checked in each
            PyObject* const seeds = PyTuple_GetItem(value, 0);
            PyLong_Check(seeds) ? see(Py_NewRef(ask.source)) : at(seeds);
        } else if (value == Py_None || PyLong_Check(value) || PyFloat_Check(value) || PyTuple_Check(value)) {
            see(Py_NewRef(value));
        } else {
            int subclass = PyObject_IsInstance(value, torch.tensor.object);
            if (subclass < 0) throw Raised{};
            ordinary = !subclass;
            if (ordinary) see(Py_NewRef(value));
        }
    }
};

// ordinary(arguments, (function mode, profiler, keys of this thread, sets of those in no mode, keys of a tensor, sets
// of those of the CPU and of CUDA, the class Source)): (0, None) where a mode is on or a tensor among the arguments is
// not an ordinary one, else (1, or 2 where one requires a gradient, and what a check could see)
inline PyObject* ordinary(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) {
        PyObject *arguments = given.one(), *witnesses = given.one();
        given.end();
        if (!PyTuple_Check(arguments) || !PyTuple_Check(witnesses) || PyTuple_Size(witnesses) != 8)
            throw std::invalid_argument("ordinary: takes a tuple of arguments and eight witnesses");
        PyObject* w[8];
        for (int i = 0; i < 8; ++i) w[i] = PyTuple_GetItem(witnesses, i);
        Witnesses ask{w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]};
        Look look(ask);
        look.ordinary = ask.no_mode();
        for (Py_ssize_t i = 0; look.ordinary && i < PyTuple_Size(arguments); ++i)
            look.at(PyTuple_GetItem(arguments, i));
        if (!look.ordinary) return Py_BuildValue("iO", 0, Py_None);
        Reference seen(PyTuple_New(look.count));
        for (int i = 0; i < look.count; ++i) PyTuple_SetItem(seen.object, i, Py_NewRef(look.seen[i]));
        return Py_BuildValue("iO", look.differentiable ? 2 : 1, seen.object);
    });
}

template <class T>
bool all_within(const void* values, int64_t n, T low, T high) {
    bool within = true;
    // NaN is not
    for (int64_t i = 0; i < n; ++i) {
        T value = static_cast<const T*>(values)[i];
        within &= value >= low && value <= high;
    }
    return within;
}

// within(x, low, high): whether all values of a float32, float64 or int64 lie in [low, high], where no bounds are given
// whether they are finite; None where they do not lie side by side on the CPU
inline PyObject* within(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [](Arguments given) -> PyObject* {
        PyObject* const x = given.one();
        const Torch& torch = Torch::here();
        Reference dtype(PyObject_GetAttr(x, name_dtype()));
        double high = dtype.is(torch.float32.object) ? FLT_MAX : DBL_MAX, low = -high;
        if (given.left) given(low), given(high), given.end();
        bool known = dtype.is(torch.float32.object) || dtype.is(torch.float64.object) || dtype.is(torch.int64.object);
        if (!known || !Reference(PyObject_GetAttr(x, name_is_cpu())).holds() ||
            !Reference(PyObject_CallMethodObjArgs(x, name_is_contiguous(), nullptr)).holds())
            Py_RETURN_NONE;
        Reference numel(PyObject_CallMethodObjArgs(x, name_numel(), nullptr));
        int64_t n = Arguments::whole(numel.object);
        const void* table = reinterpret_cast<const void*>(uintptr_t(Arguments::address(x)));
        return PyBool_FromLong(dtype.is(torch.float32.object)   ? all_within(table, n, float(low), float(high))
                               : dtype.is(torch.float64.object) ? all_within(table, n, low, high)
                                                                : all_within(table, n, int64_t(low), int64_t(high)));
    });
}

}  // namespace lowlight
