"""Pickles by their opcodes: which globals they would import, without executing anything.

An abstract machine follows the stack of pickle's protocol (``pickletools``
states what each opcode takes and gives), knows strings, tuples, dicts, lists and
the calls of a closed list, and takes everything else as unknown. A global whose
name it cannot know is reported as such.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from typing import Any, Final

MAX_OPCODES: Final = 250_000
MAX_GLOBALS: Final = 1_000
"""Limits of a walk; beyond them it stops incomplete, with what it found until then."""
COMPUTED: Final = "(computed while loading)"

STORAGES: Final[dict[str, tuple[str, int]]] = {
    "torch.FloatStorage": ("F32", 4), "torch.HalfStorage": ("F16", 2),
    "torch.BFloat16Storage": ("BF16", 2), "torch.DoubleStorage": ("F64", 8),
    "torch.LongStorage": ("I64", 8), "torch.IntStorage": ("I32", 4),
    "torch.ShortStorage": ("I16", 2), "torch.CharStorage": ("I8", 1),
    "torch.ByteStorage": ("U8", 1), "torch.BoolStorage": ("BOOL", 1),
    "torch.ComplexFloatStorage": ("C64", 8),
}  # fmt: skip
"""Storage class -> dtype as safetensors calls it, bytes an element."""

REBUILD: Final = "torch._utils._rebuild_tensor_v2"
PARAMETER: Final = "torch._utils._rebuild_parameter"
ORDERED: Final = "collections.OrderedDict"

CLOSED: Final = frozenset({REBUILD, PARAMETER, ORDERED, *STORAGES})
"""Globals with which every tensor of a pickle can be named (specs 5.8)."""

_KINDS: Final = (
    "BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short",
)  # fmt: skip
_USUAL_CLASSES: Final = frozenset(
    [f"torch.{kind}Tensor" for kind in _KINDS]
    + [f"torch.cuda.{kind}{what}" for kind in _KINDS for what in ("Storage", "Tensor")]
    + [f"torch{where}.sparse.{kind}Tensor" for kind in _KINDS for where in ("", ".cuda")]
)
"""What old checkpoints, and those that were saved on a GPU, name their storages and tensors by."""

_USUAL_TYPES: Final = frozenset(
    f"torch.{name}"
    for name in [
        "complex32",
        "complex64",
        "complex128",
        "uint16",
        "uint32",
        "uint64",
        "qint8",
        "qint32",
        "quint8",
        "quint4x2",
        "quint2x4",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "float4_e2m1fn_x2",
        "bits8",
        "bits16",
        "bits1x8",
        "bits2x4",
        "bits4x2",
        "uint1",
        "uint2",
        "uint3",
        "uint4",
        "uint5",
        "uint6",
        "uint7",
        "int1",
        "int2",
        "int3",
        "int4",
        "int5",
        "int6",
        "int7",
        "per_tensor_affine",
        "per_tensor_symmetric",
        "per_channel_affine",
        "per_channel_symmetric",
        "per_channel_affine_float_qparams",
    ]
)

USUAL: Final = CLOSED | _USUAL_CLASSES | _USUAL_TYPES | {
    "torch.Tensor", "torch.nn.parameter.Parameter", "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass",
    "torch.QUInt4x2Storage", "torch.QUInt2x4Storage",
    "torch.cuda.ComplexFloatStorage", "torch.cuda.ComplexDoubleStorage",
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter_with_state", "torch._utils._rebuild_qtensor",
    "torch.Size", "torch.device", "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
    "torch.QInt8Storage", "torch.QUInt8Storage", "torch.QInt32Storage",
    "torch.ComplexDoubleStorage", "torch.serialization._get_layout",
    "torch.float32", "torch.float16", "torch.bfloat16", "torch.float64", "torch.int64",
    "torch.int32", "torch.int16", "torch.int8", "torch.uint8", "torch.bool",
    "torch.float8_e4m3fn", "torch.float8_e5m2",
    "collections.Counter", "_codecs.encode", "__builtin__.set", "builtins.set",
    "builtins.bytearray", "builtins.complex",
}  # fmt: skip
"""What torch itself loads with ``weights_only=True``: data, nothing that runs."""


_RUNS: Final = frozenset({
    "os", "posix", "nt", "subprocess", "sys", "builtins", "__builtin__", "importlib", "runpy",
    "pty", "socket", "shutil", "ctypes", "code", "operator", "pickle", "webbrowser", "pip",
})  # fmt: skip


def _gravity(name: str) -> tuple[bool, str]:
    return (name != COMPUTED and name.partition(".")[0] not in _RUNS, name)


class Unknown:
    """A value the walk does not follow."""


class Global:
    """An imported name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Call:
    """What calling a global of the closed list with known arguments would give."""

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        self.name = name
        self.args = args


class Persistent:
    """A reference to something outside the pickle (a storage)."""

    def __init__(self, key: Any) -> None:
        self.key = key


UNKNOWN: Final = Unknown()
_MARK: Final = object()
_STRINGS: Final = frozenset({
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8",
})  # fmt: skip
_NUMBERS: Final = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
_NAMED: Final = frozenset({"GLOBAL", "INST"})
_IMPORTS: Final = _NAMED | {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_LENIENT: Final = frozenset({"INT", "LONG", "FLOAT", "STRING", "UNICODE"})
"""Opcodes with a line of text for a value, of which pickle understands more than pickletools."""

_BY_CODE: Final = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
OPCODES: Final = frozenset(_BY_CODE)
"""What a pickle can begin with; anything else needs no walk to be none."""

_COUNTED: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4, pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}  # fmt: skip
"""Kind of argument -> bytes of the count it begins with."""

_CONSTANTS: Final[dict[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """As ``pickletools.genops``, but going on where only pickle itself understands a value.

    ``pickle`` takes ``I0x1`` and texts in the encoding it is told, which ``pickletools`` refuses:
    to stop there would be to miss what comes after it.
    """
    while True:
        opcode = _BY_CODE.get(stream.read(1))
        if opcode is None:
            raise ValueError("no opcode")
        yield opcode, _argument(opcode, stream)
        if opcode.name == "STOP":
            return


def _argument(opcode: pickletools.OpcodeInfo, stream: io.BytesIO) -> Any:
    if opcode.arg is None:
        return None
    if opcode.name in _NAMED:
        module, attribute = stream.readline(), stream.readline()
        if not attribute.endswith(b"\n"):
            raise ValueError("no newline behind a name")
        return (module[:-1] + b" " + attribute[:-1]).decode("utf-8")
    begin = stream.tell()
    try:
        return opcode.arg.reader(stream)
    except ValueError:
        line = stream.getbuffer()[begin : stream.tell()]
        if opcode.name in _LENIENT and line[-1:].tobytes() == b"\n":
            return UNKNOWN
        raise


def _reach(data: bytes, at: int) -> int:
    """Where the opcode at ``at``, whose argument ``data`` cuts off, would end."""
    opcode = _BY_CODE.get(data[at : at + 1])
    width = 0 if opcode is None or opcode.arg is None else _COUNTED.get(opcode.arg.n, 0)
    return at + 1 + width + int.from_bytes(data[at + 1 : at + 1 + width], "little")


class Walk:
    """One pickle, walked to its end or to the point where it cannot be read.

    Attributes:
        globals: Names imported, in order of appearance; :data:`COMPUTED` for hidden ones.
        top: The abstract value the pickle gives.
        calls: How many tensors it rebuilds.
        complete: The walk reached STOP.
        cut: It did not, because the data ended first: more of it may help.
        limited: It did not, because of our own limits: what comes after them is not known.
        end: Where the pickle ends.

    Args:
        data: The file, or as much of it as was read.
        start: Where the pickle begins.
        budget: Opcodes to walk at most.
        size: How long the whole file is, where ``data`` is only its head.
    """

    def __init__(
        self, data: bytes, start: int = 0, budget: int = MAX_OPCODES, size: int | None = None
    ) -> None:
        self.globals: dict[str, None] = {}
        self.top: Any = UNKNOWN
        self.calls = 0
        self.complete = False
        self.cut = False
        self.limited = False
        self.end = start
        self.opcodes = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        stream = io.BytesIO(data)
        stream.seek(start)
        try:
            for opcode, argument in _opcodes(stream):
                self.opcodes += 1
                if self.opcodes > budget or len(self.globals) > MAX_GLOBALS:
                    self.end = stream.tell()
                    self.limited = True
                    return
                self._step(opcode, argument)
                self.end = stream.tell()
        except (ValueError, OverflowError, EOFError, IndexError, UnicodeError):
            self.cut = not stream.read(1)
            whole = len(data) if size is None else size
            self.limited = self.cut and len(data) < whole and _reach(data, self.end) <= whole
            self.end = stream.tell()
            return
        self.complete = True
        self.end = stream.tell()

    def unusual(self) -> list[str]:
        """Imported names outside the usual list; those that surely run things first, then sorted."""
        return sorted(self.globals.keys() - USUAL, key=_gravity)

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _STRINGS or name in _NUMBERS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name in {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"}:
            slot = len(self._memo) if name == "MEMOIZE" else int(argument)
            self._memo[slot] = self._stack[-1] if self._stack else UNKNOWN
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo.get(int(argument), UNKNOWN))
        elif name == "DUP":
            self._stack.append(self._stack[-1] if self._stack else UNKNOWN)
        elif name in _IMPORTS:
            self._import(name, argument)
        elif name == "STOP":
            self.top = self._pop()
        elif not self._build(name):
            self._generic(opcode)

    def _import(self, name: str, argument: Any) -> None:
        if name in _NAMED:
            module, _, attribute = str(argument).partition(" ")
            full = f"{module}.{attribute}"
            if name == "INST":
                self._slice()
        elif name == "STACK_GLOBAL":
            last, first = self._pop(), self._pop()
            known = type(first) is str and type(last) is str
            full = f"{first}.{last}" if known else COMPUTED
        else:
            full = f"{COMPUTED} copyreg extension {argument}"
        self.globals[full[:200]] = None
        self._stack.append(UNKNOWN if name == "INST" else Global(full))

    def _build(self, name: str) -> bool:
        """Opcodes that make the containers and calls which tensors are named by."""
        if name == "EMPTY_DICT":
            self._stack.append({})
        elif name == "EMPTY_LIST":
            self._stack.append([])
        elif name == "EMPTY_TUPLE":
            self._stack.append(())
        elif name in {"TUPLE1", "TUPLE2", "TUPLE3"}:
            items = [self._pop() for _ in range(int(name[-1]))]
            self._stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            self._stack.append(tuple(self._slice()))
        elif name in {"SETITEM", "SETITEMS"}:
            items = self._slice() if name == "SETITEMS" else [self._pop(), self._pop()][::-1]
            self._set(items)
        elif name in {"APPEND", "APPENDS"}:
            items = self._slice() if name == "APPENDS" else [self._pop()]
            target = self._stack[-1] if self._stack else None
            if type(target) is list:
                target.extend(items)
        elif name == "BINPERSID":
            self._stack.append(Persistent(self._pop()))
        elif name == "REDUCE":
            args, function = self._pop(), self._pop()
            self._stack.append(self._call(function, args))
        elif name == "BUILD":
            self._pop()
        else:
            return False
        return True

    def _call(self, function: Any, args: Any) -> Any:
        if not isinstance(function, Global) or type(args) is not tuple:
            return UNKNOWN
        if function.name == ORDERED and not args:
            return {}
        if function.name in {REBUILD, PARAMETER}:
            self.calls += function.name == REBUILD
            return Call(function.name, args)
        return UNKNOWN

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) is dict:
            for key, value in zip(items[::2], items[1::2], strict=False):
                # Keys that are no names get one of their own: nothing may be overwritten unseen.
                name = str(key) if type(key) in {str, int} else f"(key {len(target)})"
                target[name if name not in target else f"{name} ({len(target)})"] = value

    def _generic(self, opcode: pickletools.OpcodeInfo) -> None:
        before = [item.name for item in opcode.stack_before]
        if "mark" in before:
            self._slice()
            before = before[: before.index("mark")]
        for _ in before:
            self._pop()
        self._stack.extend(UNKNOWN for _ in opcode.stack_after)

    def _pop(self) -> Any:
        if not self._stack:
            return UNKNOWN
        item = self._stack.pop()
        return UNKNOWN if item is _MARK else item

    def _slice(self) -> list[Any]:
        items = []
        while self._stack:
            item = self._stack.pop()
            if item is _MARK:
                break
            items.append(item)
        items.reverse()
        return items
