"""Counts the bytes that devices exchange in a compiled program, from its text."""

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
# The form is: %name = type opcode(operands), attributes. Types may have parentheses.
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.-]+) = (.+?) ([\w-]+)\((.*?)\)(, .*|$)")
_OPERAND = re.compile(r"%([\w.-]+)")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
# Groups of one device each, in either of the two notations.
_ALONE = re.compile(r"replica_groups=(\{(\{\d+\},?)+\}|\[\d+,1\]<=)")


def moved_bytes(program: str) -> int:
    """Bytes that each device puts into collective operations.

    The traffic in a network depends on the algorithm: a ring of d devices sends each
    byte of an all-reduce 2 (d - 1) / d times. Operations within one device move
    nothing, and an operation inside a loop counts once.

    Args:
        program: The optimised HLO as text, as returned by `compiled.as_text()`.
    """
    found = [m.groups() for m in map(_INSTRUCTION.match, program.splitlines()) if m]
    sizes = {name: _bytes_of(kind) for name, kind, *_ in found}
    return sum(
        sizes[operand]
        for _, _, opcode, operands, attributes in found
        # An asynchronous operation is two instructions, the first with the operands.
        if opcode.removesuffix("-start") in COLLECTIVES
        and not _ALONE.search(attributes)
        for operand in _OPERAND.findall(operands)
    )


def _bytes_of(kind: str) -> int:
    """The bytes of an array type such as `f32[2,3]{1,0}`, or of a tuple of types."""
    return sum(
        math.prod(int(n) for n in shape.split(",") if n) * int(bits or 8) // 8
        for _, bits, shape in _ARRAY.findall(kind)
    )
