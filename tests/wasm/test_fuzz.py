"""Random calls of the host functions, through a real guest: every one is answered with an errno, none harms the host.

``AICLI_FUZZ_EXAMPLES`` sets how many sequences of up to 24 calls are tried per runtime; docs/sandbox.md has the count.
"""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicli.errors import GuestError, GuestFault
from aicli.nn.session import Session
from aicli.nn.wasi_nn import WasiNn
from aicli.wasm import Limits, Module, installed_runtimes, load_runtime
from aicli.wasm.runtime import PAGE
from tests.made_models import identity
from tests.wasm.hostile import DATA, FAKE_ENGINE, IMPORTS, guest_text, imports, wat

EXAMPLES = int(os.environ.get("AICLI_FUZZ_EXAMPLES", "150"))
SAME = "AICLI_FUZZ_EXAMPLES" not in os.environ
"""The same cases in every run, so that a failure is the change's; who asks for a number gets new ones."""
MODELS = {"classifier": identity()}

# Each host function under its own name as an export that passes its parameters on.
FORWARDS = "\n".join(
    f'(func (export "{name}") (param {"i32 " * count}) (result i32) (call ${name} '
    + " ".join(f"(local.get {n})" for n in range(count))
    + "))"
    for name, count in IMPORTS.items()
)
# 256: a name; 288: one dimension list (1, 2, 4); 304: a good tensor record; 336: a model's builder; 4096: data.
PLANTED = {
    256: b"classifier",
    288: struct.pack("<3I", 1, 2, 4),
    304: struct.pack("<IIB3xII", 288, 3, 1, 4096, 32),
    336: struct.pack("<II", 4096, 64),
    4096: b"\0\0\0\0TFL3",
}
FORWARDER = f'(module {imports()} (memory (export "memory") 1 3) {FORWARDS})'

POINTERS = [
    0,
    1,
    3,
    256,
    288,
    304,
    336,
    4096,
    PAGE - 4,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    2**31 - 1,
    2**31,
    2**32 - 4,
    2**32 - 1,
]
arguments = st.one_of(st.integers(0, 9), st.sampled_from(POINTERS), st.integers(0, 2 * PAGE), st.integers(0, 2**32 - 1))
calls = st.one_of([st.tuples(st.just(name), *[arguments] * count) for name, count in IMPORTS.items()])
# Calls that mostly succeed, so that the others find graphs and contexts to harm.
good = st.sampled_from(
    [
        ("load_by_name", 256, 10, 512),
        ("load", 336, 1, 4, 0, 512),
        ("init_execution_context", 1, 516),
        ("set_input", 2, 0, 304),
        ("compute", 2),
        ("get_output", 2, 0, 8192, 12, 520),
    ]
)
records = st.tuples(st.just("record"), *[arguments] * 5)


@pytest.fixture(scope="module", params=installed_runtimes())
def module(request: pytest.FixtureRequest) -> Module:
    runtime = load_runtime(request.param)
    return runtime.compile(runtime.prepare(wat(FORWARDER), Limits()))


@settings(
    max_examples=EXAMPLES,
    derandomize=SAME,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(sequence=st.lists(st.one_of(calls, calls, good, good, records), min_size=1, max_size=24))
def test_host_functions_answer_whatever_they_are_given(module: Module, sequence: list[tuple[str, ...]]) -> None:
    session = Session(FAKE_ENGINE, MODELS, 1)
    host = WasiNn(session)
    instance = module.instantiate(host.functions(), Limits(1 << 20, 5.0))
    host.memory = memory = instance.memory
    assert memory is not None
    for place, data in PLANTED.items():
        memory.view(place, len(data))[:] = memoryview(data)
    for name, *values in sequence:
        if name == "record":
            # The tensor record itself is hostile: pointers, rank, type and size.
            memory.view(304, 20)[:] = memoryview(struct.pack("<5I", *map(int, values)))
            continue
        errno = instance.call(name, *map(int, values))
        assert errno is not None and 0 <= errno <= 8, (name, values, errno)
        assert errno == 0 or (session.last_error and session.last_error.isprintable())
    assert host.interrupted is None
    assert memory.size() == PAGE


@settings(
    max_examples=EXAMPLES,
    derandomize=SAME,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_modules_are_refused_or_run(data: st.DataObject) -> None:
    """Bytes of a good guest are changed: it is refused, traps or runs, and nothing else happens."""
    whole = wat(guest_text("(i32.const 16)", more=DATA))
    changed = bytearray(whole)
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        changed[place] = byte
    for name in installed_runtimes():
        runtime = load_runtime(name)
        session = Session(FAKE_ENGINE, MODELS, 1)
        host = WasiNn(session)
        try:
            module = runtime.compile(runtime.prepare(bytes(changed), Limits(1 << 20, 1.0)))
            instance = module.instantiate(host.functions(), Limits(1 << 20, 1.0))
            for export in module.exports:
                if export.kind == "func" and name != "wasmer":
                    instance.call(export.name, *[0] * len(export.params))
        except (GuestError, GuestFault) as error:
            assert "\n" not in str(error)
