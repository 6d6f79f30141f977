"""The fingerprint of a model's weights, so that engines with other weights under one name never share a byte.

A digest over each tensor's name, type, shape and some of its bytes: whole tensors up to WHOLE bytes, of larger ones SAMPLES
pieces from begin to end. It does not depend on how the tensors are spread over files. Reading costs a few preads a tensor."""
from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHOLE = 16 * 1024
SAMPLES = 4
SAMPLE = 512
_HEADER_MAX = 2**30  # a safetensors header is JSON of its tensors; 1 GiB is not one

_cache: dict[tuple[tuple[str, int, int], ...], bytes] = {}  # one entry a set of files: a process serves one model or two


class WeightsError(ValueError):
    """The files cannot be fingerprinted; the text says why."""


def fingerprint(folder: str | os.PathLike[str]) -> bytes:
    """32 bytes over all *.safetensors of a folder. Cached in the process by path, modification time and size.

    Raises WeightsError (no such file, or one is damaged) and OSError."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder}: no *.safetensors files")
    key = tuple((str(file.resolve()), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    if key not in _cache:
        _cache[key] = _digest(files)
    return _cache[key]


def _digest(files: list[Path]) -> bytes:
    tensors = sorted((name, entry, file, base) for file in files for name, entry, base in _tensors(file))
    digest = hashlib.sha256(b"kvasir weights 1\0")
    for name, (dtype, shape, begin, end), file, base in tensors:
        digest.update(_field(name.encode()) + _field(dtype.encode()) + _field(repr(shape).encode()))
        with open(file, "rb", buffering=0) as source:
            for at, size in _spots(end - begin):
                piece = os.pread(source.fileno(), size, base + begin + at)
                if len(piece) != size:
                    raise WeightsError(f"{file}: tensor {name} ends beyond the file")
                digest.update(piece)
    return digest.digest()


def _field(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _tensors(file: Path) -> Iterator[tuple[str, tuple[str, tuple[int, ...], int, int], int]]:
    with open(file, "rb", buffering=0) as source:
        head = source.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else _HEADER_MAX + 1
        if length > _HEADER_MAX:
            raise WeightsError(f"{file}: not a safetensors file")
        try:
            header: dict[str, Any] = json.loads(source.read(length))
            entries = [(name, (str(entry["dtype"]), tuple(int(n) for n in entry["shape"]),
                               int(entry["data_offsets"][0]), int(entry["data_offsets"][1])))
                       for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
            raise WeightsError(f"{file}: a damaged safetensors header: {fault}") from None
    for name, entry in entries:
        yield name, entry, 8 + length


def _spots(size: int) -> Iterator[tuple[int, int]]:
    if size <= WHOLE:
        yield 0, size
        return
    for i in range(SAMPLES):
        yield (size - SAMPLE) * i // (SAMPLES - 1), SAMPLE
