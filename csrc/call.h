// Python's arguments -> an argument struct, number by number in the order of its fields
#pragma once

#include <Python.h>

#include <stdexcept>
#include <string>

#include "table.h"

namespace lowlight {

// an error that Python has been told
struct Raised {};

// one argument after the other; what they have to be is the caller's matter, but for what memory hangs on
struct Arguments {
    PyObject* const* next;
    Py_ssize_t left;

    PyObject* one() {
        if (left-- < 1) throw std::invalid_argument("takes more arguments than it got");
        return *next++;
    }

    static int64_t whole(PyObject* value) {
        long long number = PyLong_AsLongLong(value);
        if (number != -1 || !PyErr_Occurred()) return number;
        // an address or a seed in the upper half
        PyErr_Clear();
        unsigned long long large = PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred()) throw Raised{};
        return int64_t(large);
    }

    // a tensor's address: that of its data_ptr(), an int, or None for none
    static int64_t address(PyObject* value) {
        if (value == Py_None) return 0;
        if (PyLong_Check(value)) return whole(value);
        static PyObject* const name = PyUnicode_InternFromString("data_ptr");
        PyObject* number = PyObject_CallMethodObjArgs(value, name, nullptr);
        if (!number) throw Raised{};
        int64_t found = whole(number);
        Py_DECREF(number);
        return found;
    }

    template <class T>
    void operator()(T*& field) {
        field = reinterpret_cast<T*>(uintptr_t(address(one())));
    }
    void operator()(bool& field) { field = whole(one()) != 0; }
    void operator()(int& field) { field = int(whole(one())); }
    void operator()(int64_t& field) { field = whole(one()); }
    void operator()(uint32_t& field) { field = uint32_t(whole(one())); }
    void operator()(uint64_t& field) { field = uint64_t(whole(one())); }
    void operator()(double& field) {
        field = PyFloat_AsDouble(one());
        if (field == -1.0 && PyErr_Occurred()) throw Raised{};
    }
    void operator()(DType& field) {
        int64_t code = whole(one());
        if (code < 0 || code > 3) throw std::invalid_argument("dtype code: takes 0 to 3, got " + std::to_string(code));
        field = static_cast<DType>(code);
    }

    template <class A>
    A all() {
        A a{};
        for_each_number(a, *this);
        return a;
    }
    void end() const {
        if (left) throw std::invalid_argument("got " + std::to_string(left) + " arguments more than it takes");
    }
};

// a Python function (METH_FASTCALL) of body(arguments); what it throws becomes Python's
template <class Body>
PyObject* guarded(PyObject* const* values, Py_ssize_t count, Body body) {
    try {
        return body(Arguments{values, count});
    } catch (const Raised&) {
    } catch (const std::out_of_range& error) {
        PyErr_SetString(PyExc_IndexError, error.what());
    } catch (const std::invalid_argument& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

inline PyMethodDef fast_call(const char* name, FastCall call) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL, nullptr};
}

}  // namespace lowlight
