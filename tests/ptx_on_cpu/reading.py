"""PTX text -> a kernel: its registers, shared variables, parameters and instructions."""

import re
from dataclasses import dataclass, field

BYTES = {f"{kind}{size}": size // 8 for kind in "bus" for size in (8, 16, 32, 64)} | {"f32": 4, "f64": 8}
ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)\s*((?:\.\w+[^{.]*)*)\{")
VARIABLE = re.compile(r"\.shared\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?$")
INSTRUCTION = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.DOTALL)


class NotUnderstood(Exception):
    """PTX that this tool has not met before: it has to be taught, not to be skipped."""


@dataclass(frozen=True)
class Label:
    name: str


@dataclass(frozen=True)
class Instruction:
    line: int
    guard: str  # a register of a predicate, "!" before it where it has to be false, or nothing
    parts: tuple[str, ...]  # of its name: ("ld", "global", "v4", "f32")
    operands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'.'.join(self.parts)} {', '.join(self.operands)} (line {self.line} of the PTX)"


@dataclass
class Kernel:
    name: str
    parameters: list[str]
    most_threads: int = 1024
    registers: dict[str, str] = field(default_factory=dict)  # %r7 -> b32
    shared: dict[str, int] = field(default_factory=dict)  # offsets
    shared_bytes: int = 0
    code: list[Label | Instruction] = field(default_factory=list)


def names(text: str) -> list[str]:
    """The mangled names of a PTX file's kernels."""
    return [match[1] for match in ENTRY.finditer(text)]


def kernel(text: str, name: str) -> Kernel:
    """One of a PTX file."""
    match = next((match for match in ENTRY.finditer(text) if match[1] == name), None)
    if match is None:
        raise NotUnderstood(f"no kernel {name} in this PTX")
    found = Kernel(name, re.findall(r"([\w$]+)(?:\[\d+\])?\s*(?:,|$)", match[2]))
    if bound := re.search(r"\.maxntid\s+(\d+)", match[3]):
        found.most_threads = int(bound[1])
    read_body(found, text[match.end() : text.find("\n}\n", match.end())], text.count("\n", 0, match.end()) + 1)
    return found


def read_body(kernel: Kernel, body: str, line: int) -> None:
    for statement in re.sub(r"//[^\n]*", "", body).split(";"):
        # scopes of the compiler's own: their registers have names of their own, too
        words = re.match(r"[\s{}]*", statement)[0]
        start, rest = line + words.count("\n"), statement[len(words) :].rstrip()
        line += statement.count("\n")
        while label := re.match(r"([\w$]+):\s*", rest):
            kernel.code.append(Label(label[1]))
            start, rest = start + label[0].count("\n"), rest[label.end() :]
        if rest.startswith(".reg"):
            read_registers(kernel, rest)
        elif rest.startswith(".shared"):
            read_shared(kernel, rest)
        elif rest and not rest.startswith(".pragma"):
            kernel.code.append(read_instruction(rest, start))


def read_registers(kernel: Kernel, text: str) -> None:
    _, kind, names = text.split(None, 2)
    for name in split(names):
        many = re.fullmatch(r"(%\w+?)<(\d+)>", name)
        for each in [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name]:
            if kernel.registers.setdefault(each, kind[1:]) != kind[1:]:
                raise NotUnderstood(f"{each} of {kernel.name} has two types")


def read_shared(kernel: Kernel, text: str) -> None:
    match = VARIABLE.match(text)
    if not match:
        raise NotUnderstood(text)
    align, kind, name, count = match.groups()
    align = int(align or BYTES[kind])
    kernel.shared[name] = -(-kernel.shared_bytes // align) * align
    kernel.shared_bytes = kernel.shared[name] + int(count or 1) * BYTES[kind]


def read_instruction(text: str, line: int) -> Instruction:
    match = INSTRUCTION.match(text)
    if not match:
        raise NotUnderstood(f"{text} (line {line} of the PTX)")
    negated, guard, name, operands = match.groups()
    return Instruction(line, (negated or "") + (guard or ""), tuple(name.split(".")), tuple(split(operands)))


def split(text: str) -> list[str]:
    """At the commas outside brackets."""
    return [word.strip() for word in re.split(r",(?![^{\[]*[}\]])", text) if word.strip()]
