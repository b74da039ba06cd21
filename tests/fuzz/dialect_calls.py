"""Calls of WasmEdge's and SSVM's plugins, both generations: networks by tensor name, and pictures."""

from __future__ import annotations

import io
from functools import cache
from random import Random

from PIL import Image

from aicli.run.host import HOST_MODULES, CommandHost
from aicli.wasm import Limits
from aicli.wasm.runtime import ExternType, HostFunction
from tests.fuzz.driver import Outcome
from tests.fuzz.guests import Watched, forwarder
from tests.fuzz.networks import NETWORKS, Network
from tests.fuzz.nn_calls import EDGES, END

__all__ = ["ImageCalls", "TfliteCalls"]

CALLS = 60
NAME, OUT, WRITTEN, DATA, MODEL, BUFFER = 256, 768, 832, 4096, 65536, 131072
FIXED = tuple(network for network in NETWORKS if -1 not in network.signature)


class Case:
    """One guest that imports from these modules."""

    def __init__(self, random: Random, modules: list[str]) -> None:
        self.random = random
        self.host = CommandHost((ExternType(name, "", "func") for name in modules), threads=1)
        self.functions = self.host.functions()
        module = forwarder(tuple(self.functions.values()), "wasmtime")
        self.instance = module.instantiate(self.functions, Limits(END, 20.0))
        self.host.connect(self.instance.memory)
        self.memory = Watched(self.instance)
        self.outcome = Outcome()

    def call(self, item: HostFunction, *arguments: int, writes: tuple[tuple[int, int], ...] = ()) -> int:
        """Calls and checks what holds for every call; 0 and the failure of legacy functions are told by the reason."""
        self.memory.begin()
        self.host.session.last_error = None
        answer = self.instance.call(f"{item.module}.{item.name}", *arguments) or 0
        self.host.raise_interrupt()
        reason = self.host.session.last_error or ""
        assert not reason or reason.isprintable()
        self.memory.check(writes)
        self.outcome.note(item.name, answer if len(item.params) == 7 else "", not reason, reason)
        return answer

    def odd(self, value: int, chance: float = 0.03) -> int:
        return self.random.choice(EDGES) if self.random.random() < chance else value


class TfliteCalls:
    """A guest that runs models that it brings along."""

    name = "tflite-dialects"

    def prepare(self) -> None:
        pass

    def run(self, random: Random) -> Outcome:
        return TfliteCase(random).run()


class TfliteCase(Case):
    def __init__(self, random: Random) -> None:
        super().__init__(random, [name for name, group in HOST_MODULES.items() if group == "tflite"])
        self.sessions: dict[int, Network] = {}
        self.tensors: dict[int, int] = {}
        self.gone: list[int] = []

    def run(self) -> Outcome:
        actions = [self.append, self.compute, self.find_output, self.length, self.data, self.create, self.delete]
        for _ in range(CALLS):
            if not self.sessions:
                self.create()
            else:
                self.random.choices(actions, [8, 5, 5, 5, 8, 1, 1])[0]()
        return self.outcome

    def pick(self, name: str) -> tuple[HostFunction, bool]:
        """A function by its plain name, of any generation; whether it is a current one."""
        found = [item for item in self.functions.values() if item.name.removeprefix(f"{item.module}_") == name]
        item = self.random.choice(found)
        return item, item.name == name

    def session(self) -> int:
        if self.random.random() < 0.95 and self.sessions:
            return self.random.choice(list(self.sessions))
        return self.random.choice([*self.gone, *self.tensors, 0, 2**32 - 1, self.random.getrandbits(32)])

    def tensor(self) -> int:
        if self.random.random() < 0.95 and self.tensors:
            return self.random.choice(list(self.tensors))
        return self.random.choice([*self.gone, *self.sessions, 0, 2**32 - 1])

    def named(self, text: str) -> tuple[int, int]:
        if self.random.random() < 0.05:
            text = self.random.choice(["", "t9", "\0", "ü" * 600])
        data = text.encode()
        self.memory.put(NAME, data[:400])
        return self.odd(NAME), self.odd(len(data))

    def create(self) -> None:
        item, current = self.pick("create_session")
        network = self.random.choice(FIXED)
        model = bytearray(network.model)
        if self.random.random() < 0.05:
            model[self.random.randrange(8)] ^= 0xFF
        self.memory.put(MODEL, bytes(model))
        arguments, out = (self.odd(MODEL), self.odd(len(model))), self.odd(OUT)
        if current:
            failed = self.call(item, *arguments, out, writes=((out, 4),))
            handle = 0 if failed else int.from_bytes(self.memory.get(out, 4), "little")
        else:
            handle = self.call(item, *arguments)
        if handle:
            assert handle not in {*self.sessions, *self.gone}
            self.sessions[handle] = network

    def append(self) -> None:
        item, _ = self.pick("append_input")
        handle = self.session()
        network = self.sessions.get(handle, FIXED[0])
        count = 8 if network.dtype == "float32" else 12
        data = network.values(self.random, count)
        self.memory.put(DATA, data)
        self.call(item, handle, *self.named("t0"), self.odd(DATA), self.odd(len(data)))

    def compute(self) -> None:
        self.call(self.pick("run_session")[0], self.session())

    def find_output(self) -> None:
        item, current = self.pick("get_output_tensor")
        handle, out = self.session(), self.odd(OUT)
        name = self.named("t1" if self.random.random() < 0.7 else "t2")
        if current:
            failed = self.call(item, handle, *name, out, writes=((out, 4),))
            tensor = 0 if failed else int.from_bytes(self.memory.get(out, 4), "little")
        else:
            tensor = self.call(item, handle, *name)
        if tensor:
            self.tensors[tensor] = handle

    def length(self) -> None:
        item, current = self.pick("get_tensor_len")
        tensor, out = self.tensor(), self.odd(OUT)
        if current:
            self.call(item, self.tensors.get(tensor, 0), tensor, out, writes=((out, 4),))
        else:
            assert self.call(item, tensor) in (0, 12, 32)

    def data(self) -> None:
        item, current = self.pick("get_tensor_data")
        tensor, buffer, written = self.tensor(), self.odd(BUFFER), self.odd(WRITTEN)
        handle = self.tensors.get(tensor, 0)
        size = 12 if self.sessions.get(handle, FIXED[0]).dtype == "uint8" else 32
        if current:
            size = self.odd(size)
            self.call(item, handle, tensor, buffer, size, written, writes=((buffer, size), (written, 4)))
        else:
            self.call(item, tensor, buffer, writes=((buffer, size),))

    def delete(self) -> None:
        handle = self.session()
        self.call(self.pick("delete_session")[0], handle)
        if self.sessions.pop(handle, None):
            self.gone.append(handle)
            self.tensors = {tensor: owner for tensor, owner in self.tensors.items() if owner != handle}


@cache
def pictures() -> tuple[tuple[str, bytes], ...]:
    """Small files of every format, by the name that functions have for it."""
    found = []
    for format_, name in (("JPEG", "jpg"), ("PNG", "png"), ("BMP", ""), ("GIF", ""), ("TGA", ""), ("PPM", "")):
        for mode, size in (("RGB", (9, 5)), ("L", (1, 1)), ("RGB", (60, 40))):
            file = io.BytesIO()
            Image.linear_gradient("L").resize(size).convert(mode).save(file, format_)
            found.append((name, file.getvalue()))
    return tuple(found)


class ImageCalls:
    """A guest that has pictures decoded."""

    name = "image-dialects"

    def prepare(self) -> None:
        pass

    def run(self, random: Random) -> Outcome:
        case = Case(random, [name for name, group in HOST_MODULES.items() if group == "image"])
        functions = list(case.functions.values())
        for _ in range(CALLS):
            item = random.choice(functions)
            known = (
                [data for name, data in pictures() if name and f"load_{name}" in item.name]
                if "_to_" in item.name
                else []
            )
            data = bytearray(random.choice(known or [data for _, data in pictures()]))
            if random.random() < 0.1:
                for _ in range(random.randint(1, 6)):
                    data[random.randrange(len(data))] = random.randrange(256)
            if random.random() < 0.05:
                del data[random.randrange(len(data)) :]
            case.memory.put(MODEL, bytes(data))
            width, height = (self.side(random) for _ in range(2))
            kind = random.randrange(4) if random.random() < 0.98 else random.getrandbits(32)
            source, out = (case.odd(MODEL), case.odd(len(data))), case.odd(BUFFER)
            floats = item.name.endswith("32f") if "_to_" in item.name else kind in (2, 3)
            size = width * height * 3 * (4 if floats else 1)
            if "_to_" in item.name:
                case.call(item, *source, width, height, out, writes=((out, size),))
            else:
                case.call(item, *source, width, height, kind, out, case.odd(size), writes=((out, size),))
        return case.outcome

    def side(self, random: Random) -> int:
        if random.random() < 0.03:
            return random.choice([0, 300_000_000, 2**31, 2**32 - 1])
        return random.randint(1, 40)
