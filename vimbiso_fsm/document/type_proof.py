"""The proof that the values of a type can be stored and read back equal.

A type is taken apart into the types that it is made of, and each of them is proven: sample values are written, read and
compared. The proof of a type is made of those of its parts, and so are the tests whether a value is of the type.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import (
    Set as AbstractSet,
)
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import EnumMeta, Flag
from operator import attrgetter
from os import PathLike
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID
from weakref import WeakKeyDictionary

import attrs

from vimbiso_fsm.document.differences import differences, has_fields
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.typed_data import (
    READ_ERRORS,
    faults_in,
    keys_of_typed_dict,
    name_of,
    read,
    write,
    write_members_of,
)
from vimbiso_fsm.errors import UnstorableType

Test: TypeAlias = Callable[[object], bool]

_SAMPLES_OF_A_CLASS: Final = 16


class _Refused(Exception):
    """A type is refused.

    Attributes:
        path: The names of the fields that lead to it.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        self.path: tuple[str, ...] = ()
        self.fault, self.remedy = fault, remedy


class Node(NamedTuple):
    """A type that was taken apart and proven.

    Attributes:
        fits: Tests whether a value is of exactly this type, so that an equal one will be read back.
        stable: Tests whether a value fits and can never change.
        samples: Values of the type.
    """

    fits: Test
    stable: Test
    samples: Sequence[object]


def prove(kind: object) -> tuple[Node, tuple[type, ...]]:
    """Prove a type.

    Returns:
        The proven type, and the classes with named fields of which a value may hold an instance.

    Raises:
        UnstorableType: Its values cannot be stored and read back equal. The error names the field and the remedy.
    """
    proof = _Proof()
    try:
        return proof.of(kind), tuple(proof.classes)
    except _Refused as error:
        raise UnstorableType(name_of(kind), ".".join(error.path), error.fault, error.remedy) from None


class _Field(NamedTuple):
    """A field of a class.

    Attributes:
        name: Its name.
        alias: Its name as an argument.
        node: Its type.
        optional: Whether it has a default.
    """

    name: str
    alias: str
    node: Node
    optional: bool


def _never(_: object) -> bool:
    return False


def _all_pass(kind: type, fields: Sequence[tuple[str, Test]]) -> Test:
    """Return the test whether a value is an instance of just this class, whose fields pass their tests."""
    # Each turn runs this. Where classes are all that is tested, also of what a field holds, they are compared at once.
    inside: dict[str, type] = {}
    others: list[tuple[str, Test]] = []
    for name, test in fields:
        classes_of_field = _CLASSES_OF_TEST.get(test)
        if classes_of_field is None:
            others.append((name, test))
        else:
            inside |= {f"{name}.{path}" if path else name: each for path, each in classes_of_field.items()}
    paths, classes = [*inside], [*inside.values()]
    if len(paths) == 1:  # `attrgetter` returns a tuple of two and more
        paths, classes = paths * 2, classes * 2
    items_of: Callable[[object], Iterable[object]] = attrgetter(*paths) if paths else _nothing

    def passes(value: object) -> bool:
        if type(value) is not kind:
            return False
        try:
            if [*map(type, items_of(value))] != classes:
                return False
        except AttributeError:  # a field holds an instance of another class
            return False
        for name, test in others:  # noqa: SIM110  # a generator would be a call for each field
            if not test(getattr(value, name)):
                return False
        return True

    if not others:
        _CLASSES_OF_TEST[passes] = {"": kind, **inside}
    return passes


def _nothing(_: object) -> tuple[()]:
    return ()


def _passes_one(value: object, tests: Iterable[Test]) -> bool:
    for test in tests:  # noqa: SIM110  # as above
        if test(value):
            return True
    return False


def _plain(value: object) -> bool:
    """Whether JSON holds a value as it is."""
    if type(value) is list:
        return all(map(_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _plain(item) for key, item in value.items())
    return value is None or type(value) in (str, int, bool, float)


_CLASSES_OF_TEST: Final[MutableMapping[Test, Mapping[str, type]]] = WeakKeyDictionary()
"""The classes of each test that compares nothing else: of the value, with the path "", and of what stands in it."""


def _exactly(kind: type) -> Test:
    def is_just(value: object) -> bool:
        return type(value) is kind

    _CLASSES_OF_TEST[is_just] = {"": kind}
    return is_just


def _is_instant(value: object) -> bool:
    """Whether a value is an instant as its text says it: without `fold`, and with no zone or an offset."""
    return type(value) is datetime and type(value.tzinfo) in (timezone, NoneType) and not value.fold


def _is_time(value: object) -> bool:
    return type(value) is time and value.tzinfo is None and not value.fold


_INSTANT: Final = datetime.fromisoformat("2026-03-04T05:06:07.000891")
SCALARS: Final[Mapping[object, tuple[Test, Sequence[object]]]] = {
    str: (_exactly(str), ("", "zwölf · 12")),
    int: (_exactly(int), (0, -7, 1 << 70)),
    bool: (_exactly(bool), (False, True)),
    float: (_exactly(float), (0.0, -2.5, 1e300)),
    NoneType: (_exactly(NoneType), (None,)),
    Decimal: (_exactly(Decimal), (Decimal("0.00"), Decimal("-12.50"))),
    bytes: (_exactly(bytes), (b"", b"\xff\x00a")),
    date: (_exactly(date), (date(2026, 3, 4), date.min)),
    datetime: (_is_instant, (_INSTANT, _INSTANT.replace(tzinfo=UTC))),
    time: (_is_time, (time(0), time(5, 6, 7, 891))),
    timedelta: (_exactly(timedelta), (timedelta(0), timedelta(-1, 2, 3))),
    UUID: (_exactly(UUID), (UUID(int=0), UUID(int=1 << 100))),
}
"""Tests and samples of scalars. They can never change."""
_ANY: Final = Node(_plain, _never, (None, 1, "a", [1, {"a": None}]))
_LISTS: Final[Mapping[object, Callable[[Iterable[object]], object]]] = {
    **{kind: kind for kind in (list, set, frozenset, deque)},
    Sequence: tuple,
    MutableSequence: list,
    AbstractSet: frozenset,
    MutableSet: set,
}
_MAPPINGS: Final[Mapping[object, Callable[[Mapping[object, object]], Any]]] = {
    **{kind: kind for kind in (dict, OrderedDict, Counter)},
    defaultdict: lambda items: defaultdict(None, items),
    Mapping: dict,
    MutableMapping: dict,
}
_BARE_TUPLES: Final[tuple[object, ...]] = (tuple, typing.Tuple)  # noqa: UP006  # an author may have written it
_PATHS: Final[Any] = PathLike
_REMEDIES: Final[Mapping[object, str]] = {
    bytearray: "use bytes",
    complex: "use a tuple of two floats",
    range: "use a tuple of its bounds",
}
_REMEDY: Final = "keep a text, a number or an attrs class that it can be made from"


class _Proof:
    """The proof of one type."""

    def __init__(self) -> None:
        self._begun: dict[object, Node | None] = {}
        self.classes: list[type] = []

    def of(self, kind: object, within: str = "") -> Node:
        """Take a type apart and prove it; `within` is the field that it stands in."""
        try:
            return self._of(NoneType if kind is None else kind)
        except _Refused as error:
            if within:
                error.path = (within, *error.path)
            raise

    def _of(self, kind: Any) -> Node:  # a table of the kinds of types
        origin, inner = get_origin(kind) or kind, get_args(kind)
        if kind in (Any, object):
            return _ANY
        if isinstance(kind, NewType):
            return self.of(kind.__supertype__)
        if origin is Annotated or origin is Final:
            return self.of(inner[0])
        if hasattr(kind, "__value__") and not isinstance(kind, type):  # `type Name = …`
            return self.of(kind.__value__)
        if isinstance(kind, str):
            raise _Refused(f"is {kind!r}, a text that names no type", "name a class of the module")
        if isinstance(kind, TypeVar):
            raise _Refused(f"is the type variable {kind}, for which no type is given", "give one, as in Page[int]")
        if kind in SCALARS:
            fits, samples = SCALARS[kind]
            return Node(fits, fits, samples)
        node = self._class(kind, origin) if has_fields(origin) else self._made_of(kind, origin, inner)
        if node is None:
            raise _Refused(f"is of type {name_of(kind)}, which is not stored", _REMEDIES.get(origin, _REMEDY))
        for sample in node.samples:
            _check_round_trip(kind, sample, "a value")
        return node

    def _made_of(self, kind: object, origin: Any, inner: tuple[object, ...]) -> Node | None:
        """Take apart a type that is made of other types."""
        if isinstance(kind, EnumMeta):
            return _enum(kind)
        if origin is Literal:
            return _literal(inner)
        if origin in (Union, UnionType):
            return self._union(kind, inner)
        if is_typeddict(origin):
            return self._typed_dict(origin)
        if isinstance(origin, type) and issubclass(origin, tuple):
            return self._tuple(kind, origin, inner)
        if origin in _LISTS:
            return self._list(_LISTS[origin], inner)
        if origin in _MAPPINGS:
            return self._mapping(origin, inner)
        if isinstance(origin, type) and issubclass(origin, _PATHS):
            return _path(origin)
        return None

    def _union(self, kind: object, inner: tuple[object, ...]) -> Node:
        nodes = [self.of(each) for each in inner]
        for one, node in zip(inner, nodes, strict=True):
            for other in inner:
                if other is not one:
                    _check_told_apart(kind, one, other, node.samples)
        fits, stable = tuple(node.fits for node in nodes), tuple(node.stable for node in nodes)
        samples = [sample for node in nodes for sample in node.samples]
        return Node(lambda value: _passes_one(value, fits), lambda value: _passes_one(value, stable), samples)

    def _tuple(self, kind: Any, origin: Any, inner: tuple[object, ...]) -> Node | None:
        if hasattr(origin, "_fields"):
            self.classes.append(origin)
            hints = _hints(origin)
            return _fixed_tuple(origin, origin._make, [self.of(hints[name], name) for name in origin._fields])
        if origin is not tuple:
            return None
        if inner[1:] == (...,) or kind in _BARE_TUPLES:
            return self._list(tuple, inner[:1])
        return _fixed_tuple(tuple, tuple, [self.of(each) for each in inner if each != ()])

    def _list(self, make: Any, inner: tuple[Any, ...]) -> Node:
        node = self.of(inner[0]) if inner else _ANY
        samples = node.samples
        if make in (set, frozenset):
            samples = [sample for sample in samples if _is_hashable(sample)]
            if len(samples) < len(node.samples) and inner:
                fault = f"is a set of {name_of(inner[0])}, whose values can change"
                raise _Refused(fault, "use a tuple or a frozen class in it")

        def fits(value: Any) -> bool:
            return type(value) is make and all(map(node.fits, value))

        def stable(value: Any) -> bool:
            return type(value) is make and all(map(node.stable, value))

        frozen = make in (tuple, frozenset) and node.stable is not _never
        return Node(fits, stable if frozen else _never, (make(()), make(samples)))

    def _mapping(self, origin: Any, inner: tuple[Any, ...]) -> Node:
        make = _MAPPINGS[origin]
        keys = self.of(inner[0]) if inner and inner[0] not in (Any, object) else Node(_exactly(str), _never, ("a",))
        items = self.of(inner[1]) if inner[1:] else self.of(int) if origin is Counter else _ANY
        if not all(map(_is_hashable, keys.samples)):
            fault = f"is a mapping with keys of {name_of(inner[0])}, whose values can change"
            raise _Refused(fault, "use a tuple or a frozen class as the key")
        kind = type(make({}))
        samples = [make({})]
        if items.samples:
            values = itertools.cycle(items.samples)
            samples.append(make(dict(zip(keys.samples, values, strict=False))))

        def fits(value: Any) -> bool:
            return type(value) is kind and all(map(keys.fits, value)) and all(map(items.fits, value.values()))

        return Node(fits, _never, samples)

    def _typed_dict(self, origin: Any) -> Node:
        self.classes.append(origin)
        keys = {name: (self.of(hint, name), needed) for name, (hint, needed) in keys_of_typed_dict(origin).items()}

        def fits(value: object) -> bool:
            return (
                type(value) is dict
                and value.keys() <= keys.keys()
                and all(
                    node.fits(value[name]) if name in value else not needed for name, (node, needed) in keys.items()
                )
            )

        whole = {name: node.samples[-1] for name, (node, _) in keys.items() if node.samples}
        return Node(fits, _never, (whole, {name: item for name, item in whole.items() if keys[name][1]}))

    # Classes of fields ------------------------------------------------------------------------------------------------

    def _class(self, kind: object, origin: type) -> Node:
        """Take apart a class of fields. Inside itself it is taken by its name, and never stable."""
        if (known := self._begun.get(kind)) is not None:
            return known
        if kind in self._begun:
            return Node(lambda value: (node := self._begun[kind]) is not None and node.fits(value), _never, ())
        self._begun[kind] = None
        fields = list(self._fields(kind, origin))
        fits = _all_pass(origin, [(field.name, field.node.fits) for field in fields])
        stable = _all_pass(origin, [(field.name, field.node.stable) for field in fields])
        if all(field.optional for field in fields):
            for sample in _made(origin, {}):
                _check_round_trip(kind, sample, "the default")
        kept = _is_as_given(origin)
        frozen = kept and _is_frozen(origin) and not any(field.node.stable is _never for field in fields)
        node = Node(fits if kept else _never, stable if frozen else _never, list(_instances(origin, fields)))
        self._begun[kind] = node
        return node

    def _fields(self, kind: object, origin: Any) -> Iterator[_Field]:
        self.classes.append(origin)
        for field, hint in stored_fields(kind):
            default = field.default, getattr(field, "default_factory", dataclasses.MISSING)
            yield _Field(
                field.name,
                getattr(field, "alias", field.name),
                self.of(hint, field.name),
                default not in ((attrs.NOTHING, dataclasses.MISSING), (dataclasses.MISSING, dataclasses.MISSING)),
            )


def stored_fields(kind: Any) -> Iterator[tuple[Any, object]]:
    """Yield the fields of an attrs class or a dataclass that are stored, each with its type."""
    origin = get_origin(kind) or kind
    hints, variables = _hints(origin), _variables(kind)
    for field in attrs.fields(origin) if attrs.has(origin) else dataclasses.fields(origin):
        if field.init:
            yield field, _substituted(hints.get(field.name, Any if field.type is None else field.type), variables)


def _hints(origin: object) -> dict[str, object]:
    """Return the annotations of a class, without names in texts.

    They are not resolved by `attrs.resolve_types`, which would change the fields of an author's class.
    """
    try:
        return get_type_hints(origin)
    except NameError as error:
        fault = f"names {error.name!r} in an annotation, which is not found in module {origin.__module__}"
        raise _Refused(fault, "define or import it at the top of that module, not under TYPE_CHECKING") from None
    except Exception as error:  # noqa: BLE001  # a text is evaluated, and whatever is in it may raise
        raise _Refused(f"has an annotation that raises {type(error).__name__}", "correct the annotation") from None


def _variables(kind: object) -> dict[Any, object]:
    """Return the types that a class and its base classes give to type variables."""
    origin = get_origin(kind) or kind
    table = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind), strict=False))
    for base in getattr(origin, "__orig_bases__", ()):
        if get_origin(base) not in (None, Generic):
            table = {**_variables(_substituted(base, table)), **table}
    return table


def _substituted(hint: Any, variables: Mapping[Any, object]) -> object:
    """Return an annotation with types in place of type variables."""
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not variables or not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(variables.get(each, each) for each in parameters)]


def _is_as_given(origin: Any) -> bool:
    """Whether an instance holds what it was made from: no converters, and no fields that are not stored."""
    if attrs.has(origin):
        return all(field.init and field.converter is None for field in attrs.fields(origin))
    return all(field.init for field in dataclasses.fields(origin))


def _is_frozen(origin: Any) -> bool:
    if not attrs.has(origin):
        return bool(origin.__dataclass_params__.frozen)
    try:
        object.__new__(origin).__setattr__("", None)
    except Exception as error:  # noqa: BLE001 – a slot or a `__setattr__` of the class's own may refuse it as well
        return isinstance(error, attrs.exceptions.FrozenInstanceError)
    return False


def _instances(origin: object, fields: Sequence[_Field]) -> Iterator[object]:
    """Yield instances of a class: that of its defaults, and some of samples. Its validators may refuse all of them."""
    if all(field.optional for field in fields):
        yield from _made(origin, {})
    count = min(max((len(field.node.samples) for field in fields), default=0), _SAMPLES_OF_A_CLASS)
    for place in range(count):
        given = {
            field.alias: field.node.samples[place % len(field.node.samples)] for field in fields if field.node.samples
        }
        yield from _made(origin, given)


def _made(origin: Any, given: Mapping[str, object]) -> Iterator[object]:
    try:
        yield origin(**given)
    except Exception:  # noqa: BLE001  # a validator of the author may raise anything
        return


# Parts of types ------------------------------------------------------------------------------------------------------


def _enum(kind: EnumMeta) -> Node:
    write_members_of(kind)
    members: list[object] = list(kind.__members__.values())
    if issubclass(kind, Flag) and members:
        members += [kind(0), ~kind(0)]
    fits = _exactly(kind)
    return Node(fits, fits, members)


def _path(kind: Any) -> Node:
    sample = kind("a/b")
    fits = _exactly(type(sample))
    return Node(fits, fits, (sample,))


def _literal(values: tuple[object, ...]) -> Node:
    allowed = {(type(each), each) for each in values}

    def fits(value: object) -> bool:
        return _is_hashable(value) and (type(value), value) in allowed

    return Node(fits, fits, values)


def _fixed_tuple(kind: object, make: Callable[[Iterable[object]], object], nodes: Sequence[Node]) -> Node:
    def fits(value: Any) -> bool:
        return (
            type(value) is kind
            and len(value) == len(nodes)
            and all(node.fits(each) for node, each in zip(nodes, value, strict=True))
        )

    def stable(value: Any) -> bool:
        return (
            type(value) is kind
            and len(value) == len(nodes)
            and all(node.stable(each) for node, each in zip(nodes, value, strict=True))
        )

    frozen = not any(node.stable is _never for node in nodes)
    count = max((len(node.samples) for node in nodes), default=1) if all(node.samples for node in nodes) else 0
    samples = [make(node.samples[place % len(node.samples)] for node in nodes) for place in range(count)]
    return Node(fits, stable if frozen else _never, samples)


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


# Comparison ----------------------------------------------------------------------------------------------------------


def _check_round_trip(kind: object, sample: object, name: str) -> None:
    """Write and read a sample, which `name` names.

    Raises:
        _Refused: Another value is read.
    """
    try:
        back = read(loads(dumps(write(sample, kind))), kind)
    except READ_ERRORS as error:
        path, fault = next(faults_in(error))
    except Exception as error:  # noqa: BLE001  # cattrs and the classes of the author may raise anything
        path, fault = "", f"cannot be read back ({type(error).__name__})"
    else:
        path, fault = next(differences(sample, back), ("", ""))
    if fault:
        place = f" in {path.removeprefix('.')!r}" if path else ""
        remedy = "give all keys one type" if path == ".key" else _REMEDY
        if name == "the default":
            untyped = _has_no_type(kind, path.removeprefix(".").partition(".")[0])
            remedy = "declare the type of the field (attrs.field(type=…))" if untyped else "give a default of the type"
        raise _Refused(f"is of type {name_of(kind)}, of which {name}{place} {fault}", remedy)


def _has_no_type(kind: object, field: str) -> bool:
    """Return whether a field of a class is declared without a type, as `attrs.make_class` allows."""
    fields = attrs.fields_dict(kind) if isinstance(kind, type) and attrs.has(kind) else {}
    return field in fields and fields[field].type is None


def _check_told_apart(kind: object, one: object, other: object, samples: Iterable[object]) -> None:
    """Check that the stored form of one type of a union is not that of a value of another.

    Raises:
        _Refused: It is.
    """
    for sample in samples:
        raw = write(sample, one)
        try:
            back = read(raw, other)
            same = dumps(write(back, other)) == dumps(raw)
        except Exception:  # noqa: BLE001, S112  # that it cannot be read as the other type is what is wanted
            continue
        if same and any(differences(sample, back)):
            raise _Refused(
                f"is of type {name_of(kind)}, in which {name_of(one)} and {name_of(other)} are stored alike",
                "keep them in two fields, or in attrs classes whose fields have different names",
            )
