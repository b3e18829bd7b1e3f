"""Functions of pixels, which they pin: pooling, resizing, moving pixels into channels and back, patches."""

from __future__ import annotations

from math import prod

from nid_cli.nets.atoms import Atom, join, product
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import Row, Rule, overloads, rows
from nid_cli.nets.tracing import AtomAxes, NoRule, Trace, Traced, argument, fresh, pin_all, shape_of, shapes_of


def _pool(dimensions: int, values: int = 1) -> Rule:
    def pool(trace: Trace, call: Call) -> Traced:
        """Other pixels, the same channels."""
        x = trace.tensor(call, 0)
        shape = shape_of(call) if values == 1 else shapes_of(call)[0]
        pin_all(x[-dimensions:], "pixels")
        out = (*x[:-dimensions], *fresh(shape[-dimensions:], "pixels"))
        trace.mix(x[-dimensions:], x, out)
        return out if values == 1 else (out,) * values

    return pool


def resize(trace: Trace, call: Call) -> Traced:
    """Pixels after samples and channels, of any number of dimensions."""
    x = trace.tensor(call, 0)
    pin_all(x[2:], "pixels")
    return (*x[:2], *fresh(shape_of(call)[2:], "pixels"))


def _channels_to(x: AtomAxes, shape: tuple[int, ...], channels: Atom) -> AtomAxes:
    pin_all(x[-2:], "pixels")
    return (*x[:-3], channels, *fresh(shape[-2:], "pixels"))


def pixel_shuffle(trace: Trace, call: Call) -> Traced:
    """Channels (c, factor^2) become c, and pixels."""
    x, shape = trace.tensor(call, 0), shape_of(call)
    channels = Atom(shape[-3])
    join(x[-3], product([channels, Atom(x[-3].size // shape[-3], "pixels")]))
    return _channels_to(x, shape, channels)


def pixel_unshuffle(trace: Trace, call: Call) -> Traced:
    """Channels c and pixels become channels (c, factor^2)."""
    x, shape = trace.tensor(call, 0), shape_of(call)
    return _channels_to(x, shape, product([x[-3], Atom(shape[-3] // x[-3].size, "pixels")]))


def channel_shuffle(trace: Trace, call: Call) -> Traced:
    """Channels (groups, within) become (within, groups)."""
    x, groups = trace.tensor(call, 0), argument(call, 1, "groups")
    group, within = Atom(groups), Atom(x[1].size // groups)
    join(x[1], product([group, within]))
    return (x[0], product([within, group]), *x[2:])


def patches(trace: Trace, call: Call) -> Traced:
    """Channels and kernel as one axis, one position a patch."""
    x, shape = trace.tensor(call, 0), shape_of(call)
    if len(x) != 4:
        raise NoRule
    pin_all(x[2:], "pixels")
    kernel = prod(argument(call, 1, "kernel_size"))
    return (x[0], product([x[1], Atom(kernel, "kernel")]), Atom(shape[2], "pixels"))


def unfold(trace: Trace, call: Call) -> Traced:
    """Windows along one axis, which is last of the value."""
    x, dim, size = trace.tensor(call, 0), argument(call, 1, "dimension"), argument(call, 2, "size")
    dim %= len(x)
    pin_all([x[dim]], "windows")
    return (*x[:dim], Atom(shape_of(call)[dim], "windows"), *x[dim + 1 :], Atom(size, "windows"))


def _pools(*names: str, suffix: str = "default", values: int = 1) -> dict[str, Row]:
    return {
        key: row
        for dimensions in (1, 2, 3)
        for key, row in rows(_pool(dimensions, values), *(f"{name}{dimensions}d.{suffix}" for name in names)).items()
    }


RESIZED = "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
SMOOTH = "upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
ROWS = (
    _pools("max_pool", "avg_pool", "adaptive_avg_pool")
    | rows(_pool(2), "_adaptive_avg_pool2d.default")
    | rows(_pool(3), "_adaptive_avg_pool3d.default")
    | rows(_pool(1, values=2), "max_pool1d_with_indices.default")
    | rows(_pool(2, values=2), "max_pool2d_with_indices.default")
    | rows(_pool(3, values=2), "max_pool3d_with_indices.default")
    | _pools("adaptive_max_pool", values=2)
    | rows(resize, *overloads(RESIZED + SMOOTH), *overloads(RESIZED + SMOOTH, "vec"))
    | rows(pixel_shuffle, "pixel_shuffle.default")
    | rows(pixel_unshuffle, "pixel_unshuffle.default")
    | rows(channel_shuffle, "channel_shuffle.default", "native_channel_shuffle.default")
    | rows(patches, "im2col.default")
    | rows(unfold, "unfold.default")
)
