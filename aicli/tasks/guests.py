"""The guest of a task, in the runtime and the process that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aicli.guest.client import Guest
from aicli.nn.context import plan_contexts
from aicli.nn.engines import AnyEngine
from aicli.options import SandboxOptions
from aicli.wasm.choose import Policy, choose_runtime

if TYPE_CHECKING:
    from aicli.tasks.guest_process import GuestProcess

__all__ = ["load_guest"]


def load_guest(
    task: str,
    models: Mapping[str, Path | bytes],
    engine: AnyEngine,
    options: SandboxOptions,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    pixel_models: Mapping[str, Path] | None = None,
) -> Guest | GuestProcess:
    """The guest that the options ask for, ready for a task; ``shapes`` are those of the networks' inputs that
    are known, ``pixel_models`` the same networks for a guest that knows to give them the pixels as they are.

    One that is not the packaged guest, nor declared trustworthy, gets a process that can be ended, with an engine of
    its own.
    """
    if options.guest is not None and not options.trust_guest:
        from aicli.tasks.guest_process import GuestProcess, GuestRecipe

        runtime = choose_runtime(Policy.FOREIGN, options.runtime)
        return GuestProcess(
            GuestRecipe(task, models, options.replace(engine=engine.name, runtime=runtime.name), pixel_models)
        )
    spare = None
    if shapes and options.guest is None and not engine.contained:
        # Before the runtime is loaded: the memory that planning takes and gives back is there for what follows.
        spare = plan_contexts(engine, models, options.threads, shapes)
    return Guest(
        task,
        models,
        engine=engine,
        threads=options.threads,
        path=Path(options.guest) if options.guest is not None else None,
        runtime=choose_runtime(Policy.PACKAGED, options.runtime),
        limits=options.limits,
        fresh=options.fresh_guest,
        spare=spare,
        pixel_models=pixel_models,
    )
