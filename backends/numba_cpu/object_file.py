"""What an object file wants from outside: the names of its undefined symbols, read from its symbol table.

LLVM's text does not tell: code generation adds calls of its own, for copies, remainders or large frames. Sources: the ELF-64
object file format (System V ABI), Mach-O's ``nlist_64``, and Microsoft's PE format specification, for COFF objects.
"""

from __future__ import annotations

import struct
from typing import Final

_ELF_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_ELF_SYMBOL: Final = struct.Struct("<IBBHQQ")
_MACH_COMMAND: Final = struct.Struct("<II")
_MACH_SYMBOL: Final = struct.Struct("<IBBHQ")
_COFF_SYMBOL: Final = struct.Struct("<8sIhHBB")
_COFF_MACHINES: Final = (b"\x64\x86", b"\x64\xaa")  # x86-64, ARM64


def undefined_symbols(code: bytes) -> frozenset[str]:
    """The symbols that an object of a little-endian 64-bit machine refers to and does not define.

    Raises ValueError for what is not a whole object file of a known format.
    """
    try:
        if code[:6] == b"\x7fELF\x02\x01":
            return frozenset(_elf(code))
        if code[:4] == b"\xcf\xfa\xed\xfe":
            return frozenset(_mach(code))
        if code[:2] in _COFF_MACHINES:
            return frozenset(_coff(code))
    except (struct.error, IndexError) as error:
        raise ValueError(f"the object file is cut off: {error}") from error
    raise ValueError("not an object file of a known format")


def _name(code: bytes, start: int) -> str:
    end = code.find(b"\0", start)
    if end < 0:
        raise ValueError("the object file is cut off in a name")
    return code[start:end].decode()


def _elf(code: bytes) -> list[str]:
    (sections_at,) = struct.unpack_from("<Q", code, 0x28)
    entry_size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [_ELF_SECTION.unpack_from(code, sections_at + entry_size * i) for i in range(count)]
    names: list[str] = []
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind == 2:  # SHT_SYMTAB; link is its table of names
            strings = sections[link][4]
            for place in range(offset, offset + size, _ELF_SYMBOL.size):
                name, _, _, section, _, _ = _ELF_SYMBOL.unpack_from(code, place)
                if section == 0 and name:
                    names.append(_name(code, strings + name))
    return names


def _mach(code: bytes) -> list[str]:
    (count,) = struct.unpack_from("<I", code, 16)
    place = 32
    names: list[str] = []
    for _ in range(count):
        kind, size = _MACH_COMMAND.unpack_from(code, place)
        if kind == 2:  # LC_SYMTAB
            symbols, number, strings, _ = struct.unpack_from("<IIII", code, place + 8)
            for i in range(number):
                name, flags, _, _, _ = _MACH_SYMBOL.unpack_from(code, symbols + i * _MACH_SYMBOL.size)
                if not flags & 0xE0 and flags & 0x0E == 0:  # no debugging entry; undefined
                    names.append(_name(code, strings + name).removeprefix("_"))
        place += size
    return names


def _coff(code: bytes) -> list[str]:
    symbols, count = struct.unpack_from("<II", code, 8)
    strings = symbols + count * _COFF_SYMBOL.size
    names: list[str] = []
    i = 0
    while i < count:
        short, value, section, _, storage, auxiliary = _COFF_SYMBOL.unpack_from(code, symbols + i * _COFF_SYMBOL.size)
        if section == 0 and value == 0 and storage == 2:  # IMAGE_SYM_UNDEFINED, IMAGE_SYM_CLASS_EXTERNAL
            zeros, offset = struct.unpack("<II", short)
            names.append(_name(code, strings + offset) if zeros == 0 else short.rstrip(b"\0").decode())
        i += 1 + auxiliary
    return names
