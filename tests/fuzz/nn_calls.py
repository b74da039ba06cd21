"""Calls of ``wasi_ephemeral_nn`` that mostly make sense: handles that exist, records of the right shape, any order."""

from __future__ import annotations

import math
import struct
from random import Random

import numpy as np

from aicli.nn.dialects.numbers import DIALECTS
from aicli.nn.engines import load_engine
from aicli.nn.session import Session
from aicli.nn.wasi_nn import WasiNn
from aicli.wasm import PAGE, Limits
from tests.fuzz.driver import Outcome
from tests.fuzz.guests import PAGES, Watched, forwarder
from tests.fuzz.networks import NETWORKS, Network

__all__ = ["NnCalls"]

MODULE = "wasi_ephemeral_nn"
CALLS = 60
NAME, DIMS, RECORD, BUILDER, OUT, WRITTEN, DATA, MODEL, BUFFER = 256, 512, 640, 704, 768, 832, 4096, 65536, 131072
END = PAGES * PAGE
EDGES = (0, 1, 3, END - 4, END - 1, END, END + 1, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)
KINDS = {"witx": {"float32": 1, "uint8": 3}, "wit": {"float32": 1, "uint8": 4}}


class NnCalls:
    """One guest with sixty calls; ``runtime`` and ``dialect`` as the command line names them."""

    def __init__(self, runtime: str, dialect: str) -> None:
        self.name = f"nn-{dialect}-{runtime}"
        self._runtime, self._dialect = runtime, dialect

    def prepare(self) -> None:
        self._engine = load_engine()

    def run(self, random: Random) -> Outcome:
        return Case(random, self._runtime, self._dialect, self._engine).run()


class Case:
    def __init__(self, random: Random, runtime: str, dialect: str, engine: object) -> None:
        self.random, self.kinds = random, KINDS[dialect]
        names = {network.name: network.model for network in NETWORKS}
        self.session = Session(engine, names, 1)  # type: ignore[arg-type]
        self.host = WasiNn(self.session, DIALECTS[dialect])
        functions = self.host.functions()
        module = forwarder(tuple(functions.values()), runtime)
        self.instance = module.instantiate(functions, Limits(END, 20.0))
        self.host.memory = self.instance.memory
        self.memory = Watched(self.instance)
        self.graphs: dict[int, Network] = {}
        self.contexts: dict[int, Network] = {}
        self.given: dict[int, bytes] = {}
        self.computed: dict[int, bytes] = {}
        self.gone: list[int] = []
        self.named: set[int] = set()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        choices = [self.load_by_name, self.load, self.init, self.set_input, self.compute, self.get_output]
        for _ in range(CALLS):
            if self.random.random() < 0.08:
                self.anything()
            elif not self.graphs:
                self.load_by_name()
            elif not self.contexts:
                self.init()
            else:
                action = self.random.choices([*choices, self.finalize, self.unload], [2, 1, 4, 24, 12, 16, 2, 1])[0]
                action()
        assert self.host.interrupted is None
        return self.outcome

    def call(self, name: str, *arguments: int, writes: tuple[tuple[int, int], ...] = ()) -> int:
        """Calls and checks what holds for every call."""
        self.memory.begin()
        errno = self.instance.call(f"{MODULE}.{name}", *arguments)
        assert errno is not None and 0 <= errno <= 9, (name, arguments, errno)
        reason = self.session.last_error or ""
        assert errno == 0 or (reason and reason.isprintable()), (name, arguments, errno)
        self.memory.check(writes)
        self.outcome.note(name, errno, errno == 0, reason if errno else "")
        return errno

    def number(self, pointer: int) -> int:
        return int.from_bytes(self.memory.get(pointer, 4), "little")

    def handle(self, live: dict[int, Network]) -> int:
        """Mostly one that exists, else a stale or a foreign one."""
        if live and self.random.random() < 0.93:
            return self.random.choice(list(live))
        return self.random.choice([*self.gone, *self.graphs, *self.contexts, 0, 2**32 - 1, self.random.getrandbits(32)])

    def odd(self, value: int, chance: float = 0.04) -> int:
        """The value, or seldom one at a border."""
        return self.random.choice(EDGES) if self.random.random() < chance else value

    def load_by_name(self) -> None:
        network = self.random.choice(NETWORKS)
        self.memory.put(NAME, network.name.encode())
        pointer, length, out = self.odd(NAME), self.odd(len(network.name)), self.odd(OUT)
        if self.random.random() < 0.2:
            arguments = (pointer, length, self.odd(NAME), self.odd(2), out)
            errno = self.call("load_by_name_with_config", *arguments, writes=((out, 4),))
        else:
            errno = self.call("load_by_name", pointer, length, out, writes=((out, 4),))
        if errno == 0 and self.graphs.get(self.number(out)) is network and self.number(out) in self.named:
            return  # the same name again: the same handle, as long as the graph is there
        self.keep_graph(errno, out, network)
        if errno == 0:
            self.named.add(self.number(out))

    def load(self) -> None:
        network = self.random.choice(NETWORKS)
        model = bytearray(network.model)
        if self.random.random() < 0.1:
            model[self.random.randrange(8)] ^= 0xFF
        self.memory.put(MODEL, bytes(model))
        self.memory.put(BUILDER, struct.pack("<II", self.odd(MODEL), self.odd(len(model))))
        out, encoding = self.odd(OUT), 4 if self.random.random() < 0.95 else self.random.randrange(9)
        errno = self.call(
            "load", self.odd(BUILDER), self.odd(1), encoding, self.random.randrange(4), out, writes=((out, 4),)
        )
        self.keep_graph(errno, out, network)

    def keep_graph(self, errno: int, out: int, network: Network) -> None:
        if errno == 0:
            graph = self.number(out)
            assert graph and graph not in {*self.graphs, *self.contexts, *self.gone}
            self.graphs[graph] = network

    def init(self) -> None:
        graph, out = self.handle(self.graphs), self.odd(OUT)
        if self.call("init_execution_context", graph, out, writes=((out, 4),)) == 0:
            context = self.number(out)
            assert context and context not in {*self.graphs, *self.contexts, *self.gone}
            self.contexts[context] = self.graphs[graph]

    def set_input(self) -> None:
        context = self.handle(self.contexts)
        network = self.contexts.get(context, NETWORKS[0])
        shape = [self.random.randint(1, 6) if n < 0 else n for n in network.signature]
        size = math.prod(shape) * np.dtype(network.dtype).itemsize
        data = network.values(self.random, math.prod(shape))
        kind = self.kinds[network.dtype]
        if self.random.random() < 0.06:
            shape[self.random.randrange(len(shape))] = self.random.choice([0, 1, 2, 2**16, 2**31, 2**32 - 1])
        if self.random.random() < 0.05:
            kind = self.random.randrange(256)
        self.memory.put(DATA, data)
        self.memory.put(DIMS, struct.pack(f"<{len(shape)}I", *shape))
        rank = self.odd(len(shape), 0.02)
        place = self.odd(DATA, 0.02)
        record = struct.pack("<IIB3xII", self.odd(DIMS, 0.02), rank, kind, place, self.odd(size, 0.03))
        self.memory.put(RECORD, record)
        if self.call("set_input", context, self.odd(0, 0.02), self.odd(RECORD, 0.02)) == 0:
            self.given[context] = self.memory.get(place, size)
        self.computed.pop(context, None)

    def compute(self) -> None:
        context = self.handle(self.contexts)
        name = "compute_single" if self.random.random() < 0.2 else "compute"
        if self.call(name, context) == 0 and context in self.given:
            self.computed[context] = self.contexts[context].answer(self.given[context])

    def get_output(self) -> None:
        context, buffer, written = self.handle(self.contexts), self.odd(BUFFER), self.odd(WRITTEN)
        size = self.odd(4096)
        name = "get_output_single" if self.random.random() < 0.2 else "get_output"
        arguments = (context, self.odd(0, 0.03), buffer, size, written)
        errno = self.call(name, *arguments, writes=((buffer, size), (written, 4)))
        if errno == 0 and context in self.computed and (written + 4 <= buffer or buffer + size <= written):
            expected = self.computed[context]
            assert self.number(written) == len(expected)
            found = self.memory.get(buffer, len(expected))
            assert found == expected, (self.contexts[context].name, found.hex(), expected.hex())

    def finalize(self) -> None:
        context = self.handle(self.contexts)
        if self.random.random() < 0.3:
            self.call("fini_single", context)
        elif self.call("finalize_execution_context", context) == 0:
            self.forget(self.contexts, context)

    def unload(self) -> None:
        graph = self.handle(self.graphs)
        if self.call("unload", graph) == 0:
            self.forget(self.graphs, graph)

    def forget(self, live: dict[int, Network], handle: int) -> None:
        del live[handle]  # raises for a handle that was not there to be freed
        self.gone.append(handle)
        self.given.pop(handle, None)
        self.computed.pop(handle, None)

    def anything(self) -> None:
        """Any function with any numbers; whatever it makes is not remembered."""
        functions = self.host.functions()
        item = self.random.choice([item for (_, name), item in functions.items() if name not in ("unload",)])
        if item.name == "finalize_execution_context":
            return
        pool = (*EDGES, NAME, RECORD, DATA, OUT, *self.graphs, *self.contexts)
        numbers = [
            self.random.choice(pool) if self.random.random() < 0.7 else self.random.getrandbits(32) for _ in item.params
        ]
        before = {**self.contexts}
        self.call(item.name, *numbers, writes=((0, END),))
        if item.name in ("set_input", "compute", "compute_single"):
            for context in before:
                if context == numbers[0]:
                    self.given.pop(context, None)
                    self.computed.pop(context, None)
