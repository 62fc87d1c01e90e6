"""The native loop as a builtin function: what ctypes does to four arguments takes longer than a small program runs.

The few instructions around the loop are LLVM text, compiled by llvmlite alone. They use Python's stable C interface:
integers and a tuple come in, an integer goes out, and references are neither kept nor given.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final, cast

import llvmlite.binding as llvm

from graphc.runtime.tape import Walk, Word

_METH_FASTCALL: Final = 0x80

# Where the work is brief the GIL stays: to wait for it afterwards could take a thousand times as long.
_TEXT: Final = """
target triple = "{triple}"

define ptr @enter(ptr %self, ptr %arguments, i64 %count) {{
  %expected = icmp eq i64 %count, 4
  br i1 %expected, label %unpack, label %refuse
refuse:
  call void {bad_call}()
  ret ptr null
unpack:
  %block_object = load ptr, ptr %arguments
  %block = call i64 {to_int}(ptr %block_object)
  %at_begin = getelementptr ptr, ptr %arguments, i64 1
  %begin_object = load ptr, ptr %at_begin
  %begin = call i64 {to_int}(ptr %begin_object)
  %at_end = getelementptr ptr, ptr %arguments, i64 2
  %end_object = load ptr, ptr %at_end
  %end = call i64 {to_int}(ptr %end_object)
  %at_arrays = getelementptr ptr, ptr %arguments, i64 3
  %arrays_object = load ptr, ptr %at_arrays
  %is_none = icmp eq ptr %arrays_object, {none}
  %address = ptrtoint ptr %arrays_object to i64
  %arrays = select i1 %is_none, i64 0, i64 %address
  %words = inttoptr i64 %block to ptr
  %at_brief = getelementptr i64, ptr %words, i64 {word_brief}
  %brief = load i64, ptr %at_brief
  %keeps = icmp ne i64 %brief, 0
  %slots = alloca [2 x i64]
  br i1 %keeps, label %run, label %release
release:
  %saved = call ptr {save_thread}()
  br label %run
run:
  %thread = phi ptr [ null, %unpack ], [ %saved, %release ]
  %second = getelementptr i64, ptr %slots, i64 1
  call i32 {walk}(ptr %slots, ptr %second, i64 %block, i64 %begin, i64 %end, i64 %arrays)
  br i1 %keeps, label %done, label %take
take:
  call void {restore_thread}(ptr %thread)
  br label %done
done:
  %at_status = getelementptr i64, ptr %words, i64 {word_status}
  %status = load ptr, ptr %at_status
  %code = load i64, ptr %status
  %result = call ptr {from_int}(i64 %code)
  ret ptr %result
}}
"""


class _Method(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_kept: Final[list[Any]] = []  # builtin functions live as long as the process, and so does what they point to


def builtin_walk(walk: int) -> Walk:
    """A builtin function that calls the native loop at the address ``walk``, and gives the first word of the status."""
    api = ctypes.pythonapi
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = _TEXT.format(
        triple=llvm.get_process_triple(),
        walk=_pointer(walk),
        none=_pointer(id(None)),
        bad_call=_pointer(_address(api.PyErr_BadArgument)),
        to_int=_pointer(_address(api.PyLong_AsLongLong)),
        from_int=_pointer(_address(api.PyLong_FromLongLong)),
        save_thread=_pointer(_address(api.PyEval_SaveThread)),
        restore_thread=_pointer(_address(api.PyEval_RestoreThread)),
        word_brief=int(Word.BRIEF),
        word_status=int(Word.STATUS),
    )
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(opt=2)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    method = _Method(b"walk", engine.get_function_address("enter"), _METH_FASTCALL, None)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
        ("PyCFunction_NewEx", api)
    )
    function = make(ctypes.addressof(method), None, None)
    _kept.extend((engine, method, function))
    return cast("Walk", function)


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _pointer(address: int) -> str:
    return f"inttoptr (i64 {address} to ptr)"
