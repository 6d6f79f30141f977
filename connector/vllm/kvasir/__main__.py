"""python3 -m kvasir: looks at a store, and works on single chunks, from a shell."""
from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import (
    Cause,
    Completion,
    Connector,
    Error,
    Hash,
    InvalidError,
    Layout,
    Space,
    SpaceDescription,
    Status,
    __version__,
    keys_from_tokens,
    library_version,
    vllm_none_hash,
)

DONE, NOT_THERE, USAGE, NO_ANSWER, FAILED = range(5)
_CHUNK_MAX = 128 << 20  # of <kvasir/connector.h>

_EPILOG = """\
A space is described by --space FILE (JSON with the fields of kvasir.SpaceDescription) or by options, which win over the file.
Tokens are numbers with commas, or @FILE with numbers in JSON or between blanks; keys are hexadecimal.
Exit status: 0 done or all there, 1 not (all) there, 2 wrong command line, 3 no answer from the node, 4 something else failed.
"""


class Reported(Exception):
    """An end with a message for people and an exit status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


# ---- input ----

def _numbers(text: str) -> list[int]:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except UnicodeDecodeError as fault:
            raise InvalidError(f"{text[1:]}: no text: {fault}") from None
    words = text.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    try:
        return [int(word) for word in words]
    except ValueError as fault:
        raise InvalidError(f"tokens: {fault}") from None


def _hex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidError(f"{name}: hexadecimal is wanted, not {text!r}") from None


def _description(options: argparse.Namespace) -> SpaceDescription:
    values: dict[str, Any] = {"layout": "opaque"}
    if options.space:
        try:
            read = json.loads(Path(options.space).read_text())
        except (ValueError, RecursionError) as fault:
            raise InvalidError(f"{options.space}: no JSON: {fault}") from None
        if not isinstance(read, dict):
            raise InvalidError(f"{options.space}: an object is wanted")
        values = read
    for name in ("model", "revision", "engine", "layout", "hash", "tokens_per_chunk", "key_length", "chunk_bytes"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    return SpaceDescription.from_dict(values)


def _keys(options: argparse.Namespace, space: Space) -> bytes:
    if options.tokens is not None:
        keys = space.keys(_numbers(options.tokens))
        if not keys:
            raise InvalidError("tokens: they fill no chunk")
        return keys
    if not options.keys:
        raise InvalidError("no key: give some in hexadecimal, or --tokens")
    return b"".join(_hex(one, "key") for one in options.keys)


# ---- output ----

def _tell(options: argparse.Namespace, answer: dict[str, Any], text: str) -> None:
    if options.json:
        print(json.dumps(answer))
    elif text:
        print(text)


def _open(options: argparse.Namespace) -> Connector:
    connector = Connector(options.endpoint, timeout=options.timeout, wait_connected=options.timeout)
    state = connector.state()
    if not state.ok:
        connector.close()
        raise Reported(NO_ANSWER, state.text)
    return connector


def _ended(done: Completion, options: argparse.Namespace) -> None:
    """A node that went away in the middle, or an error, is told as that."""
    if done.cause == Cause.NODE or -200 < done.status <= -100 or done.status == Status.ERR_DEADLINE:
        raise Reported(NO_ANSWER, f"{options.endpoint}: no answer ({done.status.name})")
    if done.status.is_error:
        raise Reported(FAILED, f"{options.command}: {done.status.name}")


# ---- commands ----

def _state(options: argparse.Namespace) -> int:
    with Connector(options.endpoint, timeout=options.timeout, wait_connected=options.timeout) as connector:
        state = connector.state()
    _tell(options, {"ok": state.ok, "status": state.status.name, "text": state.text}, f"{state.status.name}: {state.text}")
    return DONE if state.ok else NO_ANSWER


def _lookup(options: argparse.Namespace) -> int:
    with _open(options) as connector:
        space = connector.space(_description(options))
        keys = _keys(options, space)
        done = connector.lookup([space], keys, present=True).wait()
    _ended(done, options)
    present = [done.is_present(i) for i in range(done.n)]
    _tell(options, {"status": done.status.name, "n": done.n, "n_prefix": done.n_prefix, "present": present,
                    "fetch_time": done.fetch_time, "elapsed": done.elapsed},
          f"{done.n_prefix} of {done.n} keys from the start, {sum(present)} in all")
    return DONE if done.n_prefix == done.n else NOT_THERE


def _put(options: argparse.Namespace) -> int:
    payload = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    if not payload:
        raise InvalidError(f"{options.file}: empty; a chunk has at least one byte")
    with _open(options) as connector:
        space = connector.space(_description(options))
        done = space.put_buffers(_hex(options.key, "key"), [payload], unchained=True, statuses=True).wait()
    _ended(done, options)
    status = done.statuses[0] if done.statuses else done.status
    _tell(options, {"status": status.name, "bytes": len(payload), "elapsed": done.elapsed},
          f"{'was there' if status == Status.EXISTS else 'stored'}: {len(payload)} bytes")
    return DONE if done.n_ok == 1 else FAILED


def _get(options: argparse.Namespace) -> int:
    with _open(options) as connector:
        space = connector.space(_description(options))
        size = space.description.chunk_bytes or options.room
        if not 0 < size <= _CHUNK_MAX:
            raise InvalidError(f"{size} bytes are no chunk; it has 1 to {_CHUNK_MAX}")
        room = bytearray(size)
        done = space.get_buffers(_hex(options.key, "key"), [room], unchained=True, loss_max=options.loss_max,
                                 loss_enough=options.loss_enough, statuses=True).wait()
    if done.statuses and done.statuses[0] == Status.ERR_BUFFER:
        raise Reported(FAILED, f"the chunk is larger than --room {len(room)}")
    _ended(done, options)
    if done.n_ok == 0:
        _tell(options, {"status": done.status.name, "cause": done.cause.name}, "")
        if not options.json:
            print(f"not there ({done.cause.name.lower()})", file=sys.stderr)
        return NOT_THERE
    payload = memoryview(room)[:done.bytes]
    if options.file == "-":
        sys.stdout.buffer.write(payload)
    else:
        Path(options.file).write_bytes(payload)
        _tell(options, {"status": done.status.name, "bytes": done.bytes, "elapsed": done.elapsed}, f"{done.bytes} bytes")
    return DONE


def _digest(options: argparse.Namespace) -> int:
    description = _description(options)
    digest = description.digest().hex()
    _tell(options, {"digest": digest, "space": description.to_dict()}, digest)
    return DONE


def _keys_command(options: argparse.Namespace) -> int:
    if options.hash is None and options.space is None:
        options.hash = "native"
    description = _description(options)
    seed = None
    if description.hash == Hash.NATIVE:
        seed = description.digest()
    elif description.hash == Hash.VLLM_SHA256_CBOR:
        seed = vllm_none_hash(options.python_hash_seed)
    blob = keys_from_tokens(_numbers(options.tokens), description.tokens_per_chunk, hash=description.hash, seed=seed,
                            parent=_hex(options.parent, "parent") if options.parent else None, hash_block=options.hash_block)
    keys = [blob[i:i + 32].hex() for i in range(0, len(blob), 32)]
    _tell(options, {"keys": keys}, "\n".join(keys))
    return DONE


def _version(options: argparse.Namespace) -> int:
    library = ".".join(map(str, library_version()))
    _tell(options, {"package": __version__, "library": library}, f"kvasir {__version__}, libkvasir-connector {library}")
    return DONE


# ---- the command line ----

def _add_space(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("space")
    group.add_argument("--space", metavar="FILE", help="its description in JSON")
    group.add_argument("--model")
    group.add_argument("--revision")
    group.add_argument("--engine")
    group.add_argument("--layout", choices=[one.name.lower() for one in Layout], help="default opaque")
    group.add_argument("--hash", choices=[one.name.lower() for one in Hash], help="how its keys are made; default opaque")
    group.add_argument("--tokens-per-chunk", type=int, metavar="N", help="default 256")
    group.add_argument("--key-length", type=int, metavar="BYTES", help="default 32")
    group.add_argument("--chunk-bytes", type=int, metavar="BYTES", help="default 0: varies")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m kvasir", description=__doc__.partition(": ")[2], epilog=_EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-j", "--json", action="store_true", help="print JSON")
    node = argparse.ArgumentParser(add_help=False)
    node.add_argument("-e", "--endpoint", default=os.environ.get("KVASIR_ENDPOINT", "unix:/run/kvasir/kvasird.sock"),
                      help="unix:/path or kvasir://host:port (default: $KVASIR_ENDPOINT, else %(default)s)")
    node.add_argument("-t", "--timeout", type=float, default=5.0, metavar="SECONDS", help="default %(default)s")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str, *parents: argparse.ArgumentParser,
            space: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, epilog=_EPILOG, parents=[common, *parents],
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
        made.set_defaults(run=run)
        if space:
            _add_space(made)
        return made

    add("state", _state, "whether the node is usable, and why not", node, space=False)
    lookup = add("lookup", _lookup, "which of the keys are there", node)
    lookup.add_argument("keys", nargs="*", metavar="KEY", help="in the order of their chain")
    lookup.add_argument("--tokens", metavar="TOKENS", help="native keys of the whole chunks of these tokens")
    put = add("put", _put, "store a file as a chunk", node)
    put.add_argument("key", metavar="KEY")
    put.add_argument("file", metavar="FILE", help="-: standard input")
    get = add("get", _get, "read a chunk into a file", node)
    get.add_argument("key", metavar="KEY")
    get.add_argument("file", metavar="FILE", help="-: standard output")
    get.add_argument("--room", type=int, default=_CHUNK_MAX, metavar="BYTES",
                     help="memory for it where the space's chunks vary (default: 128 MiB, the largest chunk)")
    get.add_argument("--loss-max", type=int, default=0, metavar="N", help="the most loss that is taken, to 15 (default: 0, none)")
    get.add_argument("--loss-enough", type=int, default=0, metavar="N",
                     help="better than that it need not be: planes of a coded chunk are not sent (default: 0)")
    add("digest", _digest, "the digest of a space; needs no node")
    keys = add("keys", _keys_command, "keys of chunks from tokens, native ones unless the space says another hash; needs no node")
    keys.add_argument("tokens", metavar="TOKENS")
    keys.add_argument("--parent", metavar="KEY", help="the key before the first token")
    keys.add_argument("--hash-block", type=int, default=0, metavar="N", help="tokens of a hash step (default: of a chunk)")
    keys.add_argument("--python-hash-seed", default="vllm-none-hash", metavar="SEED",
                      help="vllm_sha256_cbor: PYTHONHASHSEED of the engine (default: that it is not set)")
    add("version", _version, "versions of this package and of the library", space=False)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except Reported as end:
        print(f"kvasir: {end}", file=sys.stderr)
        return end.code
    except InvalidError as fault:
        print(f"kvasir: {fault}", file=sys.stderr)
        return USAGE
    except (Error, OSError) as fault:
        print(f"kvasir: {fault}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
