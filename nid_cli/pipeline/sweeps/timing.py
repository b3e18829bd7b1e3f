"""An epoch that is trained to be timed, and forgotten."""

from __future__ import annotations

from dataclasses import replace

from nid_cli.pipeline import fixed as fixed_tensors
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training.requests import Request
from nid_cli.pipeline.training.session import read_data
from nid_cli.pipeline.training.tasks import EpochDone, Start, Task

# No more samples than this are trained on; what an epoch takes grows with them.
SAMPLES = 4096


def seconds_of_an_epoch(context: Context, request: Request) -> float:
    """Seconds that one worker takes for an epoch of a training, without its start.

    Raises:
        NidError: it cannot be trained.
    """
    import torch

    from nid_cli.nets.storage import to_bytes
    from nid_cli.pipeline.training.member import train_member

    spec = request.spec
    data = read_data(context, request)
    share = min(1.0, SAMPLES / max(1, len(data.train)))
    context.say(f"timing an epoch of {spec.network.arch} on {spec.data.name}: the registry has none like it")
    few = replace(
        data,
        train=data.train.take(slice(0, SAMPLES)),
        val=data.val.take(slice(0, 256)),
        test=data.test.take(slice(0, 256)),
    )
    fixed = fixed_tensors.draw(spec, request.description, data)
    start = Start()
    if request.own is not None and request.own.code is not None:
        start = Start(state=to_bytes(request.own.code.draw(0)))
    task = Task(
        model_id=0,
        number=0,
        spec=replace(spec, spawn_epoch=None, epochs=max(1, spec.length)),
        init_seed=0,
        order_seed=0,
        save_every=max(1, spec.length),
        description=request.description,
        until=1,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        done = [m for m in train_member(task, start, fixed, few, context.torch_device()) if isinstance(m, EpochDone)]
    finally:
        torch.set_num_threads(threads)
    return done[-1].values["seconds"] / share
