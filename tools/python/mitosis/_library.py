# SPDX-License-Identifier: MIT
# ctypes over libmitosis, so that there is nothing to compile.
"""libmitosis by ctypes: finds it, and declares its functions."""
import ctypes
import os
import pathlib


class Key(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * 16)]


class SpawnedChild(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_int32), ("pidfd", ctypes.c_int32)]


class Identity(ctypes.Structure):
    _fields_ = [("unique", ctypes.c_uint8 * 16), ("parent_machine", ctypes.c_uint32),
                ("machine", ctypes.c_uint32), ("handler", ctypes.c_uint64),
                ("generation", ctypes.c_uint64), ("instance", ctypes.c_uint64)]


def _load():
    """$MITOSIS_LIBRARY; a build tree that this source tree is in; the system's."""
    wanted = os.environ.get("MITOSIS_LIBRARY")
    if wanted:
        return ctypes.CDLL(wanted)
    built = pathlib.Path(__file__).resolve().parents[3] / "build/tools/libmitosis/libmitosis.so.0"
    return ctypes.CDLL(str(built) if built.exists() else "libmitosis.so.0")


def _declare(library):
    c_int, c_text = ctypes.c_int, ctypes.c_char_p
    machine, handler, key = ctypes.c_uint32, ctypes.c_uint64, ctypes.POINTER(Key)
    number = ctypes.POINTER(ctypes.c_int32)
    for name, result, arguments in [
        ("open", c_int, []),
        ("close", None, [c_int]),
        ("nil", c_int, [c_int]),
        ("connect", c_int, [c_int, machine, ctypes.c_uint32, c_text]),
        ("prepare", c_int, [c_int, handler, c_text, key]),
        ("resume_remote", c_int, [c_int, machine, handler, key, c_text]),
        ("reclaim", c_int, [c_int, handler]),
        ("reclaim_remote", c_int, [c_int, machine, handler, key]),
        ("spawn", c_int, [c_int, machine, handler, key, c_text, ctypes.c_uint32,
                          ctypes.POINTER(c_int), ctypes.POINTER(SpawnedChild)]),
        ("wait", c_int, [c_int, number, number, c_int]),
        ("get_identity", c_int, [ctypes.POINTER(Identity)]),
        ("errno", c_int, []),
        ("strerror", c_text, []),
    ]:
        function = getattr(library, "mitosis_" + name)
        function.restype, function.argtypes = result, arguments
    return library


library = _declare(_load())
