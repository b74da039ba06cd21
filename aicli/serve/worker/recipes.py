"""What the service's workers are made from, and how they are started: what the front process knows of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from aicli._child import die_with_parent
from aicli.options import SandboxOptions
from aicli.serve.worker.folders import make_folder, remove_folder
from aicli.workers.child import Handle, Recipe
from aicli.workers.codec import Codec, Plain
from aicli.workers.start import Starter, Worker, can_fork, spawn

__all__ = ["quarantine_starter", "trainer_starter", "trusted_starter"]

START_TIME = 60.0
"""Seconds that a worker may take until it is ready."""


class TrustedRecipe(NamedTuple):
    """Warm tasks with models that the catalog vouches for."""

    sandbox: SandboxOptions

    def start(self) -> Handle:
        die_with_parent()
        from aicli.serve.worker.trusted import Tasks

        tasks = Tasks(self.sandbox)
        tasks.warm()
        return tasks


class QuarantineRecipe(NamedTuple):
    """Uploaded models and functions under limits, which hold for the rest of the process's life; memory in bytes."""

    sandbox: SandboxOptions
    memory: int

    def start(self) -> Handle:
        die_with_parent()
        from aicli.serve.worker.quarantine import Quarantine, restrict

        quarantine = Quarantine(self.sandbox)
        restrict(self.memory)
        return quarantine


class TrainerRecipe(NamedTuple):
    """Training on strangers' photos under the same limits."""

    sandbox: SandboxOptions
    memory: int

    def start(self) -> Handle:
        die_with_parent()
        from aicli.serve.worker.quarantine import restrict
        from aicli.serve.worker.trainer import Trainer

        trainer = Trainer(self.sandbox)
        restrict(self.memory)
        return trainer


def trusted_starter(sandbox: SandboxOptions, workers: int) -> Starter:
    """Starts warm workers: copies of one process, but for networks of several threads, which a copy would not have."""
    fork = can_fork() and workers > 1 and sandbox.threads == 1
    return Starter(TrustedRecipe(sandbox), Plain, fork=fork, patience=START_TIME, spawn=spawn_trusted)


def quarantine_starter(sandbox: SandboxOptions, memory: int) -> Starter:
    """Starts quarantined workers, each a fresh process: none shares memory with what ran before it."""
    return Starter(QuarantineRecipe(sandbox, memory), Plain, fork=False, patience=START_TIME, spawn=spawn_quarantined)


def trainer_starter(sandbox: SandboxOptions, memory: int) -> Starter:
    """Starts processes that train, each a fresh one."""
    return Starter(TrainerRecipe(sandbox, memory), Plain, fork=False, patience=START_TIME, spawn=spawn_trainer)


def spawn_trusted(recipe: Recipe, codec: type[Codec], program: str) -> Worker:
    """A process without the service's secret; Ctrl-C is for the front process, which drains its workers."""
    env = {key: value for key, value in os.environ.items() if key != "AICLI_SERVE_TOKEN"}
    return spawn(recipe, codec, program, env=env, group=True)


def spawn_trainer(recipe: Recipe, codec: type[Codec], program: str) -> Worker:
    """As a quarantined process, but the user's models are there to be trained on."""
    from aicli.catalog.folders import user_models

    return spawn_quarantined(recipe, codec, program, {"AICLI_MODELS_DIR": str(user_models())})


def spawn_quarantined(
    recipe: Recipe, codec: type[Codec], program: str, more: Mapping[str, str] | None = None
) -> Worker:
    """A process that sees none of our secrets, and writes to a folder of its own and to no cache that others trust."""
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "SYSTEMROOT")
    folder, lock = make_folder()
    private = dict.fromkeys(("TMPDIR", "HOME", "AICLI_CACHE_DIR", "AICLI_MODELS_DIR"), folder)
    env = {key: os.environ[key] for key in kept if key in os.environ} | private | dict(more or {})
    try:
        worker = spawn(recipe, codec, program, env=env, group=True)
    except BaseException:
        remove_folder(folder, lock)
        raise
    worker.on_close = partial(remove_folder, folder, lock)
    return worker
