"""Any torch module as a network of ours: traced once, then data.

``torch.export`` traces the module in evaluation; ``nets.conversion`` makes its graph pure calls. Dropout and batch
norms keep their place and are switched by whoever runs the calls.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
import io
import logging
import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nid_cli.errors import UsageError
from nid_cli.nets.calls import INPUT, Argument, Call, Stored, Value
from nid_cli.nets.conversion import Conversion, Entangled, needed
from nid_cli.nets.description import Buffer, Description, Input
from nid_cli.nets.example import example
from nid_cli.nets.functions import DROPOUTS
from nid_cli.nets.shallow import told_at_once
from nid_cli.nets.storage import to_bytes
from nid_cli.nets.trial import left_out, try_out
from nid_cli.nets.validation import validate


class Exported(NamedTuple):
    """The network, its tensors in this module (constants of its code too), and sentences that the user should read.

    ``alike_in_training``: whether the module does in training what its calls do.
    """

    description: Description
    state: dict[str, Tensor]
    notes: tuple[str, ...]
    alike_in_training: bool = True


def export(module: nn.Module, inputs: Sequence[Input]) -> Exported:
    """Takes a module in.

    Args:
        inputs: what its ``forward`` reads, in order; one input is called ``input`` here whatever its name.

    Raises:
        UsageError: the module cannot be taken in, in one sentence that says why and what helps.
    """
    single = [dataclasses.replace(given, name=INPUT) for given in inputs] if len(inputs) == 1 else list(inputs)
    notes: list[str] = []
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in [*module.parameters(), *module.buffers()]):
        module = copy.deepcopy(module).float()
        notes.append("the module's numbers were converted to float32")
    _refuse_cumulative(module)
    given = example(single)
    with _evaluating(module), _quiet(), torch.random.fork_rng(devices=()):
        pick = try_out(module, given, notes)
        otherwise = left_out(module, given)
        notes += otherwise
        # Attention drops within itself; where it is told not to, no trace of that is left.
        for part in module.modules():
            part.training = isinstance(part, nn.MultiheadAttention)
        hook = module.register_forward_hook(lambda _module, _inputs, output: pick(output))
        try:
            with told_at_once():
                program = _traced(module, given)
            try:
                conversion, output = _converted(module, program, single)
            except Entangled:
                conversion, output = _converted(module, _functionalized(program), single)
        finally:
            hook.remove()
    calls = list(needed(conversion.calls, output))
    if (name := conversion.changed(calls)) is not None:
        raise UsageError(
            f"the network changes its own tensor {name} whenever it runs",
            "a network must give the same outputs for the same inputs; keep counters out of forward",
        )
    return _described(module, program, single, calls, output, notes)._replace(alike_in_training=not otherwise)


def _described(
    module: nn.Module, program: Any, inputs: list[Input], calls: list[Call], output: str, notes: list[str]
) -> Exported:
    read = {name for call in calls for name in call.stored}
    state: dict[str, Tensor] = {}
    parameters: dict[str, tuple[int, ...]] = {}
    buffers: dict[str, Buffer] = {}
    aliases = _aliases(module)
    persistent = module.state_dict(keep_vars=True)
    for name, tensor in module.named_parameters():
        parameters[name], state[name] = tuple(tensor.shape), tensor.detach()
    for name, tensor in [*module.named_buffers(), *program.constants.items()]:
        kept = name in persistent
        if name in aliases or name in parameters or not (kept or name in read):
            continue
        if name not in read and name.endswith("num_batches_tracked"):
            continue
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest = None if kept else hashlib.sha256(to_bytes({"constant": tensor})).hexdigest()
        buffers[name], state[name] = Buffer(tuple(tensor.shape), dtype, kept, digest), tensor.detach()
    described = Description(
        inputs=tuple(inputs),
        calls=tuple(calls),
        parameters=parameters,
        buffers=buffers,
        tied=aliases,
        output=output,
        frozen=tuple(name for name, tensor in module.named_parameters() if not tensor.requires_grad),
    )
    validate(described)
    return Exported(described, state, tuple(notes))


def _aliases(module: nn.Module) -> dict[str, str]:
    """For each further name of a tied parameter or buffer its first name."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        if (known := first.setdefault(id(tensor), name)) != name:
            found[name] = known
    return found


def _converted(module: nn.Module, program: Any, inputs: Sequence[Input]) -> tuple[Conversion, str]:
    aliases = _aliases(module)
    signature = program.graph_signature
    names: dict[str, Argument] = {}
    own = iter(inputs)
    for spec in signature.input_specs:
        if spec.kind.name == "USER_INPUT":
            names[spec.arg.name] = Value(next(own).name)
        elif spec.target is not None:
            names[spec.arg.name] = Stored(aliases.get(spec.target, spec.target))
    conversion = Conversion(names, aliases)
    outputs = conversion.walk(program.graph)
    order = [spec.kind.name for spec in signature.output_specs]
    value = outputs[order.index("USER_OUTPUT")]
    if not isinstance(value, Value) or value not in [Value(call.name) for call in conversion.calls]:
        raise UsageError("the network's output is its input or a stored tensor: there is nothing to run")
    return conversion, value.name


def _functionalized(program: Any) -> Any:
    """torch's own functionalization, which knows views; dropouts pass it as a function that it keeps."""
    for node in program.graph.nodes:
        name = str(getattr(node.target, "__name__", ""))
        if name.replace("_.", ".") in DROPOUTS:
            if not name.startswith("dropout"):
                raise UsageError(
                    "the network drops whole channels and changes views of values in place",
                    "write the changes (x[:, 0] = y) with torch.cat, torch.where or torch.stack",
                )
            if name == "dropout_.default":
                raise UsageError(
                    "the network has in-place dropout and changes views of values in place",
                    "give nn.Dropout without inplace=True",
                )
            with program.graph.inserting_after(node):
                kept = program.graph.call_function(torch.ops.aten.native_dropout.default, tuple(node.args))
            with program.graph.inserting_after(kept):
                first = program.graph.call_function(operator.getitem, (kept, 0))
            first.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(first)
            program.graph.erase_node(node)
    return program.run_decompositions({})


def _traced(module: nn.Module, given: tuple[Tensor, ...]) -> Any:
    """The program that torch traces, for any number of samples."""
    fault: Exception | None = None
    # Equal numbers of samples in all inputs are told to torch only where it does not find out itself.
    for samples in (torch.export.Dim.DYNAMIC, torch.export.Dim("samples", min=2)):
        try:
            return torch.export.export(
                module, given, dynamic_shapes=_samples_first(module, given, samples), strict=False
            )
        except Exception as error:
            fault = fault or error
    assert fault is not None
    raise _why_not(fault) from fault


def _samples_first(module: nn.Module, given: tuple[Tensor, ...], samples: Any) -> Any:
    axes = tuple({0: samples} for _ in given)
    parameters = inspect.signature(module.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        fixed = sum(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
        return (*axes[:fixed], axes[fixed:])
    return axes


def _why_not(error: Exception) -> UsageError:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
    if isinstance(error, UsageError):
        return error
    if "specialized it to be a constant" in str(error) or "onstraints violated" in str(error):
        return UsageError(
            "the network fixes the number of samples, so it cannot run on another one",
            "take sizes from x.shape[0] and not from len(x), and leave -1 or x.shape[0] in view, reshape and expand",
        )
    kind = type(error).__name__
    if "DataDependent" in kind or "data-dependent" in str(error) or "DynamicOutputShape" in kind:
        return UsageError(
            f"the network decides by its data what it computes, so it is no fixed list of calls; torch says: {said}",
            "write if and while over values as torch.where or masks; sizes may not depend on the data",
        )
    return UsageError(
        f"torch cannot export the network; torch says: {said}",
        "forward may use torch's functions on tensors alone: no NumPy, no .item(), no printing of values",
    )


def _refuse_cumulative(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if getattr(part, "running_mean", None) is not None and getattr(part, "momentum", 0.1) is None:
            raise UsageError(
                f"{name} averages its running statistics over all batches (momentum=None), which nid does not do",
                "give it a momentum, such as 0.1",
            )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    was = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in was.items():
            part.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """torch reports every failed trace at length on stderr; what matters of it becomes the one sentence."""
    logger = logging.getLogger("torch")
    was = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(was)
