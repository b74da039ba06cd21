"""Errors carry what they are about and what helps; who shows them names the option."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest

from aicli import errors
from aicli.cli.console import told
from aicli.errors import (
    AicliError,
    GuestError,
    GuestFault,
    GuestMemoryError,
    Hint,
    ImageError,
    OptionName,
    Remark,
    UsageError,
)


def test_the_tree_is_drawn_whole() -> None:
    drawn = re.findall(r"(\w+)\s+([12])\b", (errors.__doc__ or "").partition("A message")[0])
    made = {name: getattr(errors, name) for name in errors.__all__ if name != "Hint"}
    assert {name: int(code) for name, code in drawn} == {name: kind.exit_code for name, kind in made.items()}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([| ]*)[|`]-- (\w+)", line)
        if match:
            depth = len(made[match[2]].__mro__) - len(AicliError.__mro__)
            assert len(match[1]) == 4 * (depth - 1), line


def test_every_face_names_the_option_in_its_own_words() -> None:
    from aicli.cli.options import spelled

    error = GuestMemoryError("the guest has no memory for 5 bytes", hint=Hint("limits.memory"))
    assert str(error) == "the guest has no memory for 5 bytes; limits.memory gives more"
    assert error.told(spelled) == "the guest has no memory for 5 bytes; --guest-memory gives more"
    assert error.told(lambda option: None) == "the guest has no memory for 5 bytes"
    for option, flag in (("limits.timeout", "--guest-timeout"), ("timeout", "--timeout"), ("top_k", "--top")):
        assert spelled(option) == flag
    assert spelled("trust_guest") == "--trust-guest"
    assert spelled("force") == "--force"


def test_http_names_its_own_parameters_only() -> None:
    pytest.importorskip("starlette")
    from aicli.serve.http.params import parameter_of

    error = UsageError("m.tflite: the model has 2 outputs", hint=Hint("output_tensor", "choose one with {}"))
    assert error.told(parameter_of) == "m.tflite: the model has 2 outputs; choose one with output_tensor"
    assert GuestMemoryError("no memory", hint=Hint("limits.memory")).told(parameter_of) == "no memory"


def test_an_error_is_about_the_first_thing_that_is_said() -> None:
    error = ImageError("empty").of("a.jpg").of("b.jpg")
    assert (str(error), error.message, error.subject) == ("a.jpg: empty", "empty", "a.jpg")


def test_errors_travel_whole() -> None:
    error = GuestFault("the guest failed", status=1, reason="min_size", hint=Hint("min_size", "try {}")).of("g.wasm")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.is_refusal, copy.reason) == (str(error), True, "min_size")
    sent = json.loads(json.dumps(error.to_dict()))
    again = AicliError.from_dict(sent)
    assert (type(again), str(again), again.hint) == (GuestFault, str(error), error.hint)
    written = errors.WriteError(Path("a.txt"), "disk full")
    assert str(pickle.loads(pickle.dumps(written))) == "cannot write a.txt: disk full"


def test_remarks_name_options_as_their_reader_does() -> None:
    option = Remark(OptionName("input_range"), " -1,1")
    remark = Remark("{}: assuming ", option, hint=Hint("models show:try", "see: aicli models show {x} {} PHOTO"))
    assert remark == "{}: assuming input_range -1,1"
    assert told(remark) == "{}: assuming --input-range -1,1; see: aicli models show {x} --try PHOTO"
    again = pickle.loads(pickle.dumps(remark))
    assert (again, told(again)) == (remark, told(remark))
    assert json.loads(json.dumps([remark])) == ["{}: assuming input_range -1,1"]


def test_options_of_the_command_line_alone_are_named_there_alone() -> None:
    error = GuestError("no command", hint=Hint("run:invoke", "choose one with {}"))
    assert (str(error), told(error)) == ("no command", "no command; choose one with --invoke")
