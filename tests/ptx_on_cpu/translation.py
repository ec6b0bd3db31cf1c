"""A kernel of PTX -> C++: every register a variable, every instruction a statement, every branch a goto.

Instructions that no kernel of this project has are not here: NotUnderstood names them.
"""

from ptx_on_cpu.operands import NUMBERS, TYPES, Operands, many, variable
from ptx_on_cpu.reading import BYTES, Instruction, Kernel, Label, NotUnderstood

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def translated(kernel: Kernel) -> str:
    """The C++ of a kernel, its function named `body`."""
    return "\n".join(Translation(kernel).lines)


class Translation(Operands):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.lines = ['#include "thread.h"', "using namespace ptx;"]
        self.lines.append('extern "C" void body(Thread& thread, const char* const* parameters) {')
        self.lines += self.declarations()
        self.lines += [self.statement(each) for each in kernel.code]
        self.lines.append("}")

    def statement(self, code: Label | Instruction) -> str:
        if isinstance(code, Label):
            return f"{variable(code.name)}:;"
        method = getattr(self, f"{code.parts[0]}_", None)
        try:
            if code.parts[0] in SIGNS and method is None:
                text = self.two_operands(code)
            elif method is None:
                raise KeyError(code.parts[0])
            else:
                text = method(code)
        except (KeyError, IndexError, ValueError, AssertionError) as error:
            raise NotUnderstood(str(code)) from error
        guard = code.guard and f"if ({code.guard[0].strip('%')}{variable(code.guard.lstrip('!'))}) "
        return f"{guard}{{ {text} }}"

    def ld_(self, code: Instruction) -> str:
        kind, targets = code.parts[-1], many(code.operands[0])
        number = NUMBERS[kind]
        text = f"auto* from = (const {number}*){self.place(code.operands[1], code, 'read')}; "
        return text + " ".join(self.store(target, f"from[{i}]", kind) for i, target in enumerate(targets))

    def st_(self, code: Instruction) -> str:
        kind, values = code.parts[-1], many(code.operands[1])
        text = f"auto* to = ({NUMBERS[kind]}*){self.place(code.operands[0], code, 'write')}; "
        return text + " ".join(f"to[{i}] = {self.value(value, kind)};" for i, value in enumerate(values))

    def cvta_(self, code: Instruction) -> str:
        assert code.parts[1:] == ("to", "global", "u64")
        return self.store(code.operands[0], self.value(code.operands[1], "u64"), "u64")

    def bar_(self, code: Instruction) -> str:
        assert code.parts == ("bar", "sync")
        assert code.operands == ("0",)
        return f"thread.machine->barrier(thread, {code.line});"

    def shfl_(self, code: Instruction) -> str:
        assert code.parts == ("shfl", "sync", "bfly", "b32")
        target, valid = (*code.operands[0].split("|"), "_")[:2]
        value, *rest = (self.value(operand, "u32") for operand in code.operands[1:])
        text = self.store(target, f"thread.machine->shuffle(thread, {value}, {', '.join(rest)}, {code.line})", "u32")
        return text + (f" {variable(valid)} = true;" if valid != "_" else "")

    def bra_(self, code: Instruction) -> str:
        return f"goto {variable(code.operands[0])};"

    def ret_(self, code: Instruction) -> str:
        return "return;"

    def mov_(self, code: Instruction) -> str:
        target, source = code.operands
        kind = code.parts[1]
        if target[0] not in "{" and source[0] not in "{":
            return self.store(target, self.value(source, kind), kind)
        size = 8 * BYTES[kind] // 2
        half = f"b{size}"
        if target[0] == "{":
            text = f"{TYPES[kind]} whole = {self.value(source, kind)}; "
            parts = enumerate(many(target))
            return text + " ".join(self.store(part, f"{TYPES[half]}(whole >> {i * size})", half) for i, part in parts)
        words = (f"{TYPES[kind]}({self.value(part, half)}) << {i * size}" for i, part in enumerate(many(source)))
        return self.store(target, " | ".join(words), kind)

    def cvt_(self, code: Instruction) -> str:
        *rounding, to, of = code.parts[1:]
        target, source = code.operands
        if to in ("f16", "bf16"):
            assert (rounding, of) == (["rn"], "f32")
            function = "float_to_half" if to == "f16" else "float_to_bfloat16"
            return self.store(target, f"{function}({self.value(source, 'f32')})", "b16")
        if of == "f16":
            assert (rounding, to) == ([], "f32")
            return self.store(target, f"half_to_float({self.value(source, 'b16')})", "f32")
        if of[0] == "f" and to[0] != "f":
            assert rounding == ["rzi"]
            return self.store(target, f"truncated<{TYPES[to]}>({self.value(source, of)})", to)
        # widening a float and what stays whole need no rounding
        assert rounding == ([] if to[0] != "f" or (of, to) == ("f32", "f64") else ["rn"])
        return self.store(target, f"{TYPES[to]}({self.value(source, of)})", to)

    def selp_(self, code: Instruction) -> str:
        target, yes, no, which = code.operands
        kind = code.parts[1]
        return self.store(
            target, f"{self.value(which, 'pred')} ? {self.value(yes, kind)} : {self.value(no, kind)}", kind
        )

    def prmt_(self, code: Instruction) -> str:
        assert code.parts == ("prmt", "b32")
        target, *rest = code.operands
        return self.store(target, f"permute({', '.join(self.value(operand, 'u32') for operand in rest)})", "u32")

    def two_operands(self, code: Instruction) -> str:
        """target = a sign b: floats rounded once, whole numbers wrapped around."""
        kind = code.parts[-1]
        whole = kind[0] != "f"
        rounded = code.parts[1:-1]
        assert rounded == (() if whole else ("rn",))
        kind = f"u{kind[1:]}" if whole and kind != "pred" else kind
        target, a, b = code.operands
        return self.store(target, f"{self.value(a, kind)} {SIGNS[code.parts[0]]} {self.value(b, kind)}", kind)

    def mul_(self, code: Instruction) -> str:
        return self.two_operands(code) if code.parts[-1][0] == "f" else self.mad_(code)

    def mad_(self, code: Instruction) -> str:
        _, part, kind = code.parts
        target, a, b, *c = code.operands
        kind = f"u{kind[1:]}" if part == "lo" else kind
        if part == "wide":
            wide = f"{kind[0]}{2 * int(kind[1:])}"
        else:
            assert part == "lo"
            wide = kind
        # 16 bits would be an int's
        product = f"{TYPES[wide]}({self.value(a, kind)}) * {TYPES[wide]}({self.value(b, kind)})"
        return self.store(target, " + ".join([product, *(self.value(each, wide) for each in c)]), wide)

    def fma_(self, code: Instruction) -> str:
        _, rounding, kind = code.parts
        assert rounding == "rn"
        target, *rest = code.operands
        return self.store(target, f"std::fma({', '.join(self.value(operand, kind) for operand in rest)})", kind)

    def div_(self, code: Instruction) -> str:
        kind = code.parts[-1]
        if kind[0] == "f":
            return self.two_operands(code)
        target, a, b = code.operands
        return self.store(target, f"quotient({self.value(a, kind)}, {self.value(b, kind)})", kind)

    def rem_(self, code: Instruction) -> str:
        _, kind = code.parts
        target, a, b = code.operands
        return self.store(target, f"remainder({self.value(a, kind)}, {self.value(b, kind)})", kind)

    def rcp_(self, code: Instruction) -> str:
        *rounding, kind = code.parts[1:]
        # approximations as close as they can be: kernels go on to the correctly rounded result from there
        assert rounding in (["rn"], ["approx", "ftz"])
        return self.store(code.operands[0], f"1 / {self.value(code.operands[1], kind)}", kind)

    def sqrt_(self, code: Instruction) -> str:
        _, rounding, kind = code.parts
        assert rounding == "rn"
        return self.store(code.operands[0], f"std::sqrt({self.value(code.operands[1], kind)})", kind)

    def rsqrt_(self, code: Instruction) -> str:
        assert code.parts[1:] == ("approx", "ftz", "f32")
        value = self.value(code.operands[1], "f32")
        return self.store(code.operands[0], f"float(1 / std::sqrt(double({value})))", "f32")

    def abs_(self, code: Instruction) -> str:
        _, kind = code.parts
        assert kind[0] == "f"
        return self.store(code.operands[0], f"std::fabs({self.value(code.operands[1], kind)})", kind)

    def neg_(self, code: Instruction) -> str:
        _, kind = code.parts
        kind = kind if kind[0] == "f" else f"u{kind[1:]}"
        return self.store(code.operands[0], f"-{self.value(code.operands[1], kind)}", kind)

    def not_(self, code: Instruction) -> str:
        _, kind = code.parts
        return self.store(
            code.operands[0], f"{'!' if kind == 'pred' else '~'}{self.value(code.operands[1], kind)}", kind
        )

    def shl_(self, code: Instruction) -> str:
        return self.shift(code, "shift_left")

    def shr_(self, code: Instruction) -> str:
        return self.shift(code, "shift_right")

    def shf_(self, code: Instruction) -> str:
        assert code.parts[1:] == ("r", "wrap", "b32")
        target, low, high, by = code.operands[0], *(self.value(operand, "u32") for operand in code.operands[1:])
        return self.store(target, f"uint32_t(((uint64_t({high}) << 32) | {low}) >> ({by} & 31))", "u32")

    def bfi_(self, code: Instruction) -> str:
        assert code.parts[1:] == ("b32",)
        target, *rest = code.operands
        return self.store(target, f"inserted({', '.join(self.value(operand, 'u32') for operand in rest)})", "u32")

    def clz_(self, code: Instruction) -> str:
        _, kind = code.parts
        assert kind == "b32"
        return self.store(code.operands[0], f"leading_zeros({self.value(code.operands[1], 'u32')})", "u32")

    def shift(self, code: Instruction, function: str) -> str:
        _, kind = code.parts
        target, a, by = code.operands
        return self.store(target, f"{function}({self.value(a, kind)}, {self.value(by, 'u32')})", kind)

    def min_(self, code: Instruction) -> str:
        return self.extreme(code, "<")

    def max_(self, code: Instruction) -> str:
        return self.extreme(code, ">")

    def extreme(self, code: Instruction, sign: str) -> str:
        _, kind = code.parts
        target, a, b = code.operands[0], *(self.value(operand, kind) for operand in code.operands[1:])
        if kind[0] == "f":
            # of a number and NaN the number
            return self.store(target, f"std::{'fmax' if sign == '>' else 'fmin'}({a}, {b})", kind)
        return self.store(target, f"{a} {sign} {b} ? {a} : {b}", kind)

    def setp_(self, code: Instruction) -> str:
        _, comparison, kind = code.parts
        target, a, b = code.operands[0], *(self.value(operand, kind) for operand in code.operands[1:])
        if comparison in ("num", "nan"):
            return self.store(target, f"{'!' if comparison == 'nan' else ''}({a} == {a} && {b} == {b})", "pred")
        if comparison.endswith("u"):
            # true of NaN
            return self.store(target, f"!({a} {opposite(comparison[:-1])} {b})", "pred")
        ordered = f"{a} {COMPARISONS[comparison]} {b}"
        if comparison == "ne" and kind[0] == "f":
            ordered = f"{a} < {b} || {a} > {b}"
        return self.store(target, ordered, "pred")


def opposite(comparison: str) -> str:
    return {"lt": ">=", "le": ">", "gt": "<=", "ge": "<"}[comparison]
