"""The source of an interface's client functions (`libsel4py.stub` compiles it). Names of its own end in an underscore.

A call is by value where a channel may carry it: the machine takes numbers or bytes, and gives the result, the
completion of an unusual reply, or None where an argument does not fit. It is by words where the message has no answer,
or the answer brings a capability.
"""

from __future__ import annotations

import inspect
from typing import Final

from libsel4py import abi
from libsel4py.abi import Syscall, ValueKind
from libsel4py.request_ids import REPEATED
from libsel4py.results import VALUE_KINDS, range_expression, shape_of, word_expression
from libsel4py.signature import Kind, Method, Repeat, Value


def parameter_list(method: Method) -> str:
    """The parameters as the declaration has them; a default is a name, which the stub's namespace has."""
    parts = ["self"]
    for parameter in list(method.signature.parameters.values())[1:]:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "" if parameter.default is inspect.Parameter.empty else f"=default_{parameter.name}_"
        parts.append(parameter.name + default)
    return ", ".join(parts)


def body(method: Method) -> list[str]:
    """The stub's lines. Arguments are checked and packed first, so that nothing is sent if one does not fit."""
    lines = []
    if method.capability is not None:
        lines.append(f"cptr_ = check_capability_({method.capability.name})")
    # A capability that comes back is the kernel's to hand over, and a message without an answer is soon packed.
    by_words = method.oneway or method.result_capability is not None
    sending = _word_lines(method) if by_words else _value_lines(method)
    match method.repeat:
        case Repeat.IDEMPOTENT:
            sending = _repeating(sending)
        case Repeat.REMEMBERED:
            sending = _with_request_id(_repeating(sending, f"count_ |= {REPEATED}"))
        case Repeat.NEVER:
            return [*lines, *sending]
    return [*lines, "timeout_ = self._timeout_ns", *sending]


def _repeating(sending: list[str], *before: str) -> list[str]:
    """The same, again for as long as the server dies of it and time is left. A call that works pays for no clock,
    unless it has a time limit."""
    return [
        "begun_, died_, times_ = clock_() if timeout_ >= 0 else 0, None, 0",
        "while True:",
        "    try:",
        *_indented(_indented(sending)),
        "    except ServerDied_ as error_:",
        "        died_, times_ = error_.with_traceback(None), times_ + 1",
        "        timeout_ = time_to_repeat_(died_, times_, self._timeout_ns, begun_)",
        *_indented(_indented(list(before))),
        "    except Timeout_ as error_:",
        "        if died_ is None: raise",
        "        raise died_ from error_  # the first time may have had its effect",
    ]


def _with_request_id(sending: list[str]) -> list[str]:
    return [
        "request_ = take_lane_() if self._lane is None else self._lane",
        "lane_, count_ = request_.name, request_.next()",
        "try:",
        *_indented(sending),
        "finally:",
        "    if request_ is not self._lane: give_back_lane_(request_)",
    ]


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _timeout(method: Method) -> str:
    return "self._timeout_ns" if method.repeat is Repeat.NEVER else "timeout_"


def _info(method: Method, info: int) -> str:
    return f"{info} | (128 if cptr_ else 0)" if method.capability is not None else str(info)


def _set_caps(method: Method) -> list[str]:
    return ["if cptr_: machine_.set_caps(cptr_, 0, 0)"] if method.capability is not None else []


def _names(method: Method) -> str:
    """The data arguments, as a tuple's inside."""
    return "".join(f"{value.name}, " for value in method.data)


# --- calls by value: the machine takes numbers or bytes, and gives the result


def _value_lines(method: Method) -> list[str]:
    result = _result_kind(method)
    if method.in_registers:
        info, shape = _info(method, abi.message_info(method.label, len(method.data))), _shape(method, result)
        numbers = "".join(f", {_number(value)}" for value in method.data)
        packing = []
        call = f"machine_.call_numbers(self._cptr, {info}, {shape}, {_timeout(method)}{numbers})"
        unfit = f"out_of_range_({_names(method)})"
    else:
        packing = [
            f"try: data_ = encode_(({_names(method)}))",
            "except UNPACKABLE_ as error_: raise packing_.unpackable(error_) from error_",
        ]
        info = _info(method, abi.message_info(method.label))
        call = f"machine_.call_bytes(self._cptr, {info}, {int(result)}, {_timeout(method)}, data_)"
        unfit = "packing_.too_long(data_)"
    return [
        *packing,
        *_set_caps(method),
        f"value_ = {call}",
        *_RETURNS[result],
        f"if value_ is None: raise {unfit}",
        "return unusual_(self, value_[0], value_[2:])",
    ]


def _result_kind(method: Method) -> ValueKind:
    if not method.result_in_register:
        return ValueKind.BYTES
    return VALUE_KINDS[method.result[0].kind] if method.result else ValueKind.NOTHING


def _shape(method: Method, result: ValueKind) -> int:
    # A truth value is made a word before, since asking for it may run code.
    kinds = [ValueKind.SIGNED if value.kind is Kind.SIGNED else ValueKind.WORD for value in method.data]
    return shape_of(result, kinds)


def _number(value: Value) -> str:
    return f"1 if {value.name} else 0" if value.kind is Kind.BOOL else value.name


_RETURNS: Final = {
    ValueKind.SIGNED: ["if value_.__class__ is int: return value_"],
    ValueKind.WORD: ["if value_.__class__ is int: return value_"],
    ValueKind.TRUTH: ["if value_.__class__ is bool: return value_"],
    ValueKind.NOTHING: ["if value_.__class__ is int: return None"],
    ValueKind.BYTES: [
        "if value_.__class__ is bytes:",
        "    try: return decode_(value_)",
        "    except UNDECODABLE_ as error_: raise undecodable_(error_) from error_",
    ],
}


# --- calls by words


def _word_lines(method: Method) -> list[str]:
    lines, info, words = _register_lines(method) if method.in_registers else _packed_lines(method)
    lines += _set_caps(method)
    if method.capability is not None:
        info = f"({info}) | (128 if cptr_ else 0)"
    if method.result_capability is not None:
        lines.append("arm_()")
        trap, op = "kernel_trap", Syscall.CALL  # no channel can hand a capability over
    else:
        trap, op = "trap", Syscall.SEND
    message = f"self._cptr, {info}, {', '.join(words)}"
    calling = [f"completion_ = machine_.{trap}({int(op)}, {message}, 0, 0, {_timeout(method)})"]
    if method.oneway:
        calling.append("if not completion_[0]: return None")
    calling.append("return unusual_(self, completion_[0], completion_[2:])")
    if method.result_capability is None:
        return lines + calling
    # A signal's handler raises, where the answer may have come: the next one's capability needs the slot.
    return [
        *lines,
        "try:",
        *_indented(calling),
        "except Exception: raise",
        "except BaseException:",
        "    disarm_()",
        "    raise",
    ]


def _register_lines(method: Method) -> tuple[list[str], str, list[str]]:
    names = [value.name for value in method.data]
    checks = []
    words = []
    for value in method.data:
        match value.kind:
            case Kind.SIGNED | Kind.WORD:
                checks.append(range_expression(value.name, value.kind))
                words.append(word_expression(value.name))
            case _:
                words.append(f"1 if {value.name} else 0")
    lines = [f"if not ({' and '.join(checks)}): raise out_of_range_({', '.join(names)})"] if checks else []
    return lines, str(abi.message_info(method.label, len(words))), words + ["0"] * (4 - len(words))


def _packed_lines(method: Method) -> tuple[list[str], str, list[str]]:
    lines = [f"out_, m0_, m1_, m2_, m3_ = packing_.words(({_names(method)}))"]
    return lines, "out_", ["m0_", "m1_", "m2_", "m3_"]
