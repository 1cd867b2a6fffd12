# SPDX-License-Identifier: MIT
# ctypes over libmitosis, so that there is nothing to compile.
"""libmitosis by ctypes: finds it, and declares its functions."""
import ctypes
import os
import pathlib
import typing

NAME = "libmitosis.so.0"


class Key(ctypes.Structure):
    """struct mitosis_key."""
    _fields_ = [("bytes", ctypes.c_uint8 * 16)]


class SpawnedChild(ctypes.Structure):
    """struct mitosis_child."""
    _fields_ = [("pid", ctypes.c_int32), ("pidfd", ctypes.c_int32)]


class Identity(ctypes.Structure):
    """struct mitosis_identity."""
    _fields_ = [("unique", ctypes.c_uint8 * 16), ("parent_machine", ctypes.c_uint32),
                ("machine", ctypes.c_uint32), ("handler", ctypes.c_uint64),
                ("generation", ctypes.c_uint64), ("instance", ctypes.c_uint64)]


def _load() -> ctypes.CDLL:
    """$MITOSIS_LIBRARY; what pip has installed with this package; a build tree that this source
    tree is in; the system's."""
    wanted = os.environ.get("MITOSIS_LIBRARY")
    here = pathlib.Path(__file__).resolve().parent
    beside = [here / NAME]
    if here.parts[-3:] == ("tools", "python", "mitosis"):
        beside.append(here.parents[2] / "build/tools/libmitosis" / NAME)
    found = wanted or next((str(path) for path in beside if path.exists()), NAME)
    try:
        return ctypes.CDLL(found)
    except OSError as error:
        raise ImportError(f"{error}: install mitosis (meson install), or set MITOSIS_LIBRARY to "
                          "where libmitosis.so.0 is") from error


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    c_int, c_text = ctypes.c_int, ctypes.c_char_p
    machine, handler, key = ctypes.c_uint32, ctypes.c_uint64, ctypes.POINTER(Key)
    number = ctypes.POINTER(ctypes.c_int32)
    functions: list[tuple[str, typing.Any, list[typing.Any]]] = [
        ("open", c_int, []),
        ("close", None, [c_int]),
        ("nil", c_int, [c_int]),
        ("ping", c_int, [c_int, machine]),
        ("stats", c_int, [c_int, c_text, ctypes.c_uint32]),
        ("connect", c_int, [c_int, machine, ctypes.c_uint32, c_text]),
        ("prepare_as", c_int, [c_int, handler, c_text, ctypes.c_uint, key]),
        ("prepare_process_as", c_int, [c_int, ctypes.c_int32, handler, c_text, ctypes.c_uint, key]),
        ("resume_remote", c_int, [c_int, machine, handler, key, c_text]),
        ("reclaim", c_int, [c_int, handler]),
        ("reclaim_remote", c_int, [c_int, machine, handler, key]),
        ("spawn", c_int, [c_int, machine, handler, key, c_text, ctypes.c_uint32,
                          ctypes.POINTER(c_int), ctypes.POINTER(SpawnedChild)]),
        ("wait", c_int, [c_int, number, number, c_int]),
        ("at_resume", c_int, [ctypes.c_void_p, ctypes.c_void_p]),
        ("renew", None, []),
        ("get_identity", c_int, [ctypes.POINTER(Identity)]),
        ("errno", c_int, []),
        ("strerror", c_text, []),
    ]
    for name, result, arguments in functions:
        function = getattr(library, "mitosis_" + name)
        function.restype, function.argtypes = result, arguments
    return library


library = _declare(_load())
