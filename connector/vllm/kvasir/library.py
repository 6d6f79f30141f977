"""Finds and loads libkvasir-connector, once a process.

`KVASIR_LIBRARY` (a file, or a folder that holds it) decides alone when it is set. Else the loader's path is asked
(LD_LIBRARY_PATH, ld.so.conf), then the lib folders of the prefix that Python or this package is installed in.
"""
from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

from . import abi
from .errors import LibraryError, error_of

VARIABLE = "KVASIR_LIBRARY"

_lock = threading.RLock()
_loaded: dict[bool, ctypes.CDLL] = {}


def load(embedded: bool = True) -> ctypes.CDLL:
    """The library with its prototypes. A call that may take long lets go of the GIL; gets and puts do if `embedded`.
    Errors: LibraryError (not found, not loadable, another version)."""
    if embedded not in _loaded:
        with _lock:
            if embedded not in _loaded:
                library, path = _open()
                abi.hold_gil(library, ctypes.PyDLL(path), embedded=embedded)
                _loaded[embedded] = library
    return _loaded[embedded]


def check(status: int, what: str) -> None:
    """Raises for a negative status of a call, with the library's own sentence."""
    if status < 0:
        raise error_of(status, what, load().kvs_status_text(status).decode())


def library_version() -> tuple[int, int, int]:
    """Major, minor, patch of the library at hand."""
    return _version(load())


def _candidates() -> Iterator[str]:
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named)
        yield str(path / abi.SONAME if path.is_dir() else path)
        return
    yield abi.SONAME
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    # A package in PREFIX/lib/pythonX.Y/site-packages/kvasir lies beside PREFIX/lib.
    parents = Path(__file__).resolve().parents
    prefixes = [sys.prefix, sys.base_prefix, *([str(parents[4])] if len(parents) > 4 else [])]
    for prefix in dict.fromkeys(prefixes):
        for folder in ("lib", f"lib/{multiarch}", "lib64"):
            path = Path(prefix) / folder / abi.SONAME
            if path.is_file():
                yield str(path)


def _open() -> tuple[ctypes.CDLL, str]:
    """And the name by which it is found again."""
    faults = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as fault:
            faults.append(str(fault))
            continue
        return _checked(library, name), name
    raise LibraryError(
        f"libkvasir-connector was not found ({'; '.join(faults)}). Set {VARIABLE} to the file {abi.SONAME}, or install "
        "it where the loader looks (the Debian package libkvasir-connector0, or LD_LIBRARY_PATH)")


def _version(library: ctypes.CDLL) -> tuple[int, int, int]:
    number = library.kvs_version()
    return number >> 16, number >> 8 & 0xFF, number & 0xFF


def _checked(library: ctypes.CDLL, name: str) -> ctypes.CDLL:
    ours = ".".join(map(str, abi.VERSION))
    try:
        library.kvs_version.restype = ctypes.c_uint32
        version = _version(library)
    except AttributeError:
        raise LibraryError(f"{name} is not libkvasir-connector: it has no kvs_version") from None
    # Structs may grow with a minor version, and a library refuses structs smaller than its own.
    if version[:2] != abi.VERSION[:2]:
        theirs = ".".join(map(str, version))
        raise LibraryError(f"{name} is version {theirs}, this package is {ours}: they must agree in major and minor. "
                           f"Install the package that came with the library, or set {VARIABLE}")
    try:
        abi.declare(library)
    except AttributeError as fault:
        raise LibraryError(f"{name} (this package is {ours}): {fault}") from None
    return library
