"""How an application is found, and how payloads are read."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from msgspec import Struct

from ledger.application import Invalid, PayloadDecoder, canonical_json, load_application
from ledger.applications.kv import KeyValueMap
from ledger.errors import ApplicationError
from tests.ledger.states import DictState, context


class Own:
    """A user's own application."""

    def __init__(self, parameters: dict[str, str]) -> None:
        if "wrong" in parameters:
            raise ValueError("wrong is wrong")
        self.parameters = parameters

    def check(self, payload: bytes) -> None: ...
    def execute(self, context: object, payload: bytes, state: object) -> bytes:
        return b"null"

    def query(self, question: bytes, state: object) -> bytes:
        return b"null"


class Incomplete:
    def __init__(self, parameters: dict[str, str]) -> None: ...
    def check(self, payload: bytes) -> None: ...


class NoParameters:
    check = execute = query = Own.query


def test_a_module_that_is_not_found_says_where_it_is_looked_for() -> None:
    with pytest.raises(ApplicationError, match=r"No module named 'no_such_module'.*PYTHONPATH"):
        load_application("no_such_module:Own", {})


def test_the_readmes_application_does_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    source = text.partition("In a file `counter.py`:\n\n```python\n")[2].partition("```")[0]
    module = ModuleType("readme_counter")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "readme_counter", module)
    counter = load_application("readme_counter:Counter", {"step": "2"})
    with pytest.raises(Invalid, match="name"):
        counter.check(b"{}")
    counter.check(b'{"name":"alice"}')
    state = DictState()
    assert [counter.execute(context(), b'{"name":"alice"}', state) for _ in range(2)] == [b"2", b"4"]
    assert state.get(b"count/alice") == b"4"
    assert counter.query(b'{"name":"alice"}', state) == b"4"
    assert counter.query(b'{"name":"bob"}', state) == b"0"
    with pytest.raises(Invalid, match="name"):
        counter.query(b"{}", state)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    made = ModuleType("own_application")
    made.Own, made.Incomplete, made.NoParameters = Own, Incomplete, NoParameters  # type: ignore[attr-defined]
    made.number = 5  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_application", made)
    return "own_application"


@pytest.mark.parametrize("name", ["kv", "assets", "notary"])
def test_the_shipped_applications_are_found_by_name(name: str) -> None:
    assert callable(load_application(name, {}).execute)


def test_an_application_of_ones_own_is_found_by_module_and_class(module: str) -> None:
    application = load_application(f"{module}:Own", {"depth": "3"})
    assert isinstance(application, Own)
    assert application.parameters == {"depth": "3"}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "neither one of assets, kv, notary nor of the form module:Class"),
        ("cash", "neither one of"),
        (":Own", "neither one of"),
        ("own_application:", "neither one of"),
        ("no_such_module:Own", "cannot be imported"),
        ("..x:Own", "cannot be imported"),
        ("own_application:Other", "has no class Other"),
        ("own_application:number", "has no class number"),
        ("own_application:Incomplete", "has no method execute, query"),
        ("own_application:NoParameters", "its parameters are refused"),
    ],
)
def test_a_name_that_leads_to_no_application_is_refused_with_the_reason(
    module: str, name: str, complaint: str
) -> None:
    with pytest.raises(ApplicationError, match=complaint) as refusal:
        load_application(name, {})
    assert repr(name) in str(refusal.value)


def test_parameters_that_an_application_refuses_are_named(module: str) -> None:
    with pytest.raises(ApplicationError, match="wrong is wrong"):
        load_application(f"{module}:Own", {"wrong": "1"})


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    x: int
    y: int


def test_check_admits_the_canonical_form_alone() -> None:
    points: PayloadDecoder[Point] = PayloadDecoder(Point)
    assert points.check(b'{"x":1,"y":2}') == points.decode(b'{ "y": 2, "x": 1 }') == Point(1, 2)
    with pytest.raises(Invalid, match="canonical"):
        points.check(b'{ "y": 2, "x": 1 }')


def test_canonical_json_sorts_keys_at_every_depth() -> None:
    assert canonical_json({"b": {"d": 1, "c": 2}, "a": "é"}) == '{"a":"é","b":{"c":2,"d":1}}'.encode()


def test_the_shipped_name_and_the_full_name_are_the_same_application() -> None:
    assert isinstance(load_application("ledger.applications.kv:KeyValueMap", {}), KeyValueMap)
