"""What devices tell each other in a compiled program, read from its text."""

from __future__ import annotations

import math
import re

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
# %name = type opcode(operands), attributes; types may hold parentheses as well
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.-]+) = (.+?) ([\w-]+)\((.*?)\)(, .*|$)")
_OPERAND = re.compile(r"%([\w.-]+)")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
# Groups of one device each, in either notation.
_ALONE = re.compile(r"replica_groups=(\{(\{\d+\},?)+\}|\[\d+,1\]<=)")


def moved_bytes(program: str) -> int:
    """Bytes that each device puts into collective operations.

    What a network carries depends on how it sums: a ring of d devices sends each byte
    of an all-reduce 2 (d - 1) / d times. Operations among one device alone move
    nothing; one inside a loop counts once.

    Args:
        program: Optimised HLO as text, `compiled.as_text()`.
    """
    found = [m.groups() for m in map(_INSTRUCTION.match, program.splitlines()) if m]
    sizes = {name: _bytes_of(kind) for name, kind, *_ in found}
    return sum(
        sizes[operand]
        for _, _, opcode, operands, attributes in found
        # An asynchronous one is two instructions: the first has the operands.
        if opcode.removesuffix("-start") in COLLECTIVES
        and not _ALONE.search(attributes)
        for operand in _OPERAND.findall(operands)
    )


def _bytes_of(kind: str) -> int:
    """Of an array's type, `f32[2,3]{1,0}`, or of a tuple of such."""
    return sum(
        math.prod(int(n) for n in shape.split(",") if n) * int(bits or 8) // 8
        for _, bits, shape in _ARRAY.findall(kind)
    )
