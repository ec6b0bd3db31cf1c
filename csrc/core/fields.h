// the fields of a plain struct, one after the other, so that what reads one need not say them again
#pragma once

#include <type_traits>
#include <utility>

namespace lowlight {

struct Anything {
    template <class T>
    operator T() const;
};

// how many fields braces can fill
template <class A, class = void, class... Values>
struct FieldCount {
    static constexpr int value = sizeof...(Values);
};
template <class A, class... Values>
struct FieldCount<A, std::void_t<decltype(A{Values{}..., Anything{}})>, Values...>
    : FieldCount<A, void, Values..., Anything> {};

// calls visit(fields of a) with all of them at once
template <class A, class Visit>
void with_fields(A& a, Visit visit) {
    constexpr int kCount = FieldCount<A>::value;
#define LOWLIGHT_FIELDS(count, ...)       \
    else if constexpr (kCount == count) { \
        auto& [__VA_ARGS__] = a;          \
        visit(__VA_ARGS__);               \
    }
    if constexpr (kCount == 0) static_assert(kCount > 0, "a struct of plain fields");
    LOWLIGHT_FIELDS(2, b, c)
    LOWLIGHT_FIELDS(3, b, c, d)
    LOWLIGHT_FIELDS(4, b, c, d, e)
    LOWLIGHT_FIELDS(5, b, c, d, e, f)
    LOWLIGHT_FIELDS(6, b, c, d, e, f, g)
    LOWLIGHT_FIELDS(7, b, c, d, e, f, g, h)
    LOWLIGHT_FIELDS(8, b, c, d, e, f, g, h, i)
    LOWLIGHT_FIELDS(9, b, c, d, e, f, g, h, i, j)
    LOWLIGHT_FIELDS(10, b, c, d, e, f, g, h, i, j, k)
    LOWLIGHT_FIELDS(11, b, c, d, e, f, g, h, i, j, k, l)
    LOWLIGHT_FIELDS(12, b, c, d, e, f, g, h, i, j, k, l, m)
    LOWLIGHT_FIELDS(13, b, c, d, e, f, g, h, i, j, k, l, m, n)
    LOWLIGHT_FIELDS(14, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
    LOWLIGHT_FIELDS(15, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
    LOWLIGHT_FIELDS(16, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
    LOWLIGHT_FIELDS(17, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
    LOWLIGHT_FIELDS(18, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
    LOWLIGHT_FIELDS(19, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)
    else static_assert(kCount < 0, "more fields than with_fields has a line for");
#undef LOWLIGHT_FIELDS
}

// read(number) for every number of `a`, those of the structs in it in their place
template <class A, class Read>
void for_each_number(A& a, Read& read) {
    with_fields(a, [&](auto&... fields) {
        auto one = [&](auto& field) {
            if constexpr (std::is_class_v<std::remove_reference_t<decltype(field)>>)
                for_each_number(field, read);
            else
                read(field);
        };
        (one(fields), ...);
    });
}

}  // namespace lowlight
