"""A Value is what a frozen dataclass is, and costs next to nothing to import."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from functools import cached_property
from typing import Any, ClassVar

import pytest

from tsa_core.values import Value


class Point(Value):
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is below 0")

    @cached_property
    def length(self) -> int:
        return self.x + self.y


class Named(Point):
    name: str
    password: str = ""

    _hidden: ClassVar = frozenset({"password"})


class Other(Value):
    x: int
    y: int = 0


def test_values_are_equal_when_their_fields_are() -> None:
    one, same = Point(x=1), Point(x=1, y=0)
    assert one.length == 1  # which is kept beside the fields
    assert one == same
    assert hash(one) == hash(same)
    assert one != Point(x=2)
    assert Point(x=1) != Other(x=1)


def test_a_value_does_not_change() -> None:
    point: Any = Point(x=1)
    with pytest.raises(AttributeError, match="Point does not change: x cannot be set"):
        point.x = 2
    with pytest.raises(AttributeError, match="x cannot be deleted"):
        del point.x
    assert point == Point(x=1)


def test_fields_that_are_missing_or_unknown_are_named() -> None:
    make: Any = Point
    with pytest.raises(TypeError, match=r"^Point\(\) misses x$"):
        make(y=1)
    with pytest.raises(TypeError, match=r"^Point\(\) has no field z$"):
        make(x=1, z=1)


def test_a_copy_with_changes_is_checked() -> None:
    assert Point(x=1, y=2).replace(y=3) == Point(x=1, y=3)
    with pytest.raises(ValueError, match="x is below 0"):
        Point(x=1).replace(x=-1)
    with pytest.raises(TypeError, match="has no field z"):
        Point(x=1).replace(z=1)


def test_fields_are_inherited_and_secrets_are_not_shown() -> None:
    named = Named(x=1, name="a", password="secret")
    assert repr(named) == "Named(x=1, y=0, name='a')"
    assert named != named.replace(password="other")


class Flat(Named):
    x: int = 7
    password: str


def test_a_field_that_a_subclass_names_again_stays_in_its_place() -> None:
    flat = Flat(name="a", password="secret")
    assert repr(flat) == "Flat(x=7, y=0, name='a')"
    assert flat == Flat(x=7, name="a", password="secret")


def test_the_signature_has_the_fields() -> None:
    assert str(inspect.signature(Named)) == "(*, x: 'int', y: 'int' = 0, name: 'str', password: 'str' = '')"


def test_a_value_survives_copying_and_pickling() -> None:
    point = Point(x=1, y=2)
    assert copy.deepcopy(point) == copy.copy(point) == pickle.loads(pickle.dumps(point)) == point


def test_values_need_no_dataclasses() -> None:
    code = "import sys, tsa_core.values; sys.exit('dataclasses' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
