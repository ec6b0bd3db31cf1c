"""What stands beside PTX's instructions: registers, numbers, addresses, and their types, as C++."""

import re

from ptx_on_cpu.reading import BYTES, Instruction, Kernel

NUMBERS = {"f32": "float", "f64": "double"} | {
    f"{kind}{size}": f"{'' if kind == 's' else 'u'}int{size}_t" for kind in "sub" for size in (8, 16, 32, 64)
}
# registers are compared by their bits alone where their type is b
TYPES = NUMBERS | {"pred": "bool"}
# by their bits when they are declared, so that an instruction that forgot to write one shows
UNWRITTEN = {"f32": "bits<float>(0xcdcdcdcdu)", "f64": "bits<double>(0xcdcdcdcdcdcdcdcdull)"}
SPECIAL = re.compile(r"%(tid|ctaid|ntid|nctaid)\.([xyz])$")
ADDRESS = re.compile(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+)\s*)?\]$")


class Operands:
    """Those of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def declarations(self) -> list[str]:
        """All registers."""
        return [
            f"{TYPES[kind]} {variable(name)} = {UNWRITTEN.get(kind, f'{TYPES[kind]}(0xcdcdcdcdcdcdcdcdull)')};"
            for name, kind in self.kernel.registers.items()
        ]

    def value(self, operand: str, kind: str) -> str:
        """An operand as a number of PTX's type `kind`."""
        wanted = TYPES[kind]
        if special := SPECIAL.match(operand):
            return f"{wanted}(thread.{special[1]}.{special[2]})"
        if operand in self.kernel.registers:
            own, name = self.kernel.registers[operand], variable(operand)
            if TYPES[own] == wanted:
                return name
            if "float" not in (wanted, TYPES[own]) and "double" not in (wanted, TYPES[own]):
                return f"{wanted}({name})"
            return f"bits<{wanted}>({name})"
        if operand in self.kernel.shared:
            return f"{wanted}({self.kernel.shared[operand]})"
        if operand in self.kernel.parameters:
            return f"{wanted}(uintptr_t(parameters[{self.kernel.parameters.index(operand)}]))"
        if operand.startswith("0f"):
            return f"bits<float>(0x{operand[2:]}u)"
        if operand.startswith("0d"):
            return f"bits<double>(0x{operand[2:]}ull)"
        return f"{wanted}({hex(int(operand, 0) % 2**64)}ull)"

    def store(self, target: str, expression: str, kind: str) -> str:
        """target = the expression, a number of type `kind`, its sign or zeros spread where the register is wider."""
        if target == "_":
            return ""
        own = TYPES[self.kernel.registers[target]]
        if own == TYPES[kind]:
            return f"{variable(target)} = {expression};"
        if kind.startswith("f") or own in ("float", "double"):
            return f"{variable(target)} = bits<{own}>({TYPES[kind]}({expression}));"
        return f"{variable(target)} = {own}({TYPES[kind]}({expression}));"

    def place(self, operand: str, code: Instruction, access: str) -> str:
        """The C++ address of a memory operand, checked."""
        base, offset = ADDRESS.match(operand).groups()
        offset = int(offset or 0)
        kind, width = code.parts[-1], {"v2": 2, "v4": 4}.get(code.parts[-2], 1)
        size, space = width * BYTES[kind], code.parts[1]
        if space == "param":
            return f"({self.value(base, 'u64')} + {offset})"
        if space == "global":
            return f"thread.machine->global({self.value(base, 'u64')} + {offset}, {size}, {code.line})"
        assert space == "shared"
        return f"thread.machine->shared_{access}(thread, {self.value(base, 'u32')} + {offset}, {size}, {code.line})"


def many(operand: str) -> list[str]:
    """{%r1, %r2} -> both; %r1 -> itself alone."""
    return [word.strip() for word in operand.strip("{}").split(",")]


def variable(name: str) -> str:
    """The C++ name of a register or a label."""
    return name.strip("%").replace("$", "_")
