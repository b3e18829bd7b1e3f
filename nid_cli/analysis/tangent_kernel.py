"""The empirical neural tangent kernel (Jacot et al. 2018; docs/science.md, 13), without a loop over samples.

K[x, x'] is the sum over outputs of the products of their gradients. With A what the neurons of a layer read (samples x
places x d) and G the gradients of what they compute (samples x outputs x places x n), the layer's own part is

    sum over outputs o, places p, q of  (G[x, o, p] . G[x', o, q]) (A[x, p] . A[x', q]),

two products of matrices where there is one place. Memory does not grow with the number of parameters of layers, and
samples and outputs are cut into blocks where it would grow with them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nid_cli.analysis.class_samples import Samples
from nid_cli.analysis.tangent_network import Features, TangentNetwork
from nid_cli.nets.kernels import unfolded
from nid_cli.nets.layers import Layer
from nid_cli.nets.rules import row_of

# Numbers (float64) that the features of a block take at most: 512 MiB. A block of one sample and output may take more.
BLOCK_ENTRIES = 2**26
# Numbers in the largest tensor that is made of features.
PIECE_ENTRIES = 2**22


@torch.no_grad()
def tangent_kernel(network: TangentNetwork, samples: Samples, entries: int = BLOCK_ENTRIES) -> Tensor:
    """K (N x N, float64): symmetric and positive semi-definite up to rounding.

    Args:
        entries: how many numbers the features of a block may take.
    """
    blocks, outputs = _blocks(network, samples, entries)
    kernel = samples.inputs.new_zeros(len(samples), len(samples), dtype=torch.float64)
    for place, rows in enumerate(blocks):
        own = network.forward(samples, rows)
        for columns in blocks[place:]:
            other = own if columns is rows else network.forward(samples, columns)
            for part in outputs:
                features = own.features(part)
                kernel[rows, columns] += _products(
                    network, features, features if other is own else other.features(part)
                )
    for place, rows in enumerate(blocks):
        for columns in blocks[place + 1 :]:
            kernel[columns, rows] = kernel[rows, columns].T
    return (kernel + kernel.T) / 2


def _blocks(network: TangentNetwork, samples: Samples, entries: int) -> tuple[list[slice], list[slice]]:
    """Blocks of samples, and of outputs: as many outputs at once as all samples together leave room for."""
    total, outputs = len(samples), network.graph.outputs
    always, each = network.numbers_of()
    together = (entries // total - always) // each
    size = total if together >= 1 else max(1, entries // (2 * (always + each)))
    return _slices(total, size), _slices(outputs, max(1, min(together, outputs)))


def _slices(total: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def _products(network: TangentNetwork, a: Features, b: Features) -> Tensor:
    """Inner products of the gradients of the samples of two blocks, summed over the outputs."""
    found = [_of_rows(own.flatten(1), b.full[name].flatten(1)) for name, own in a.full.items()]
    for layer in network.layers:
        mask = network.trainable.get(layer.weight)
        found.append(_of_layer(layer, a, b, None if mask is None else layer.matrix(mask)))
    return torch.stack(found).sum(0)


def _of_rows(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.T


def _of_layer(layer: Layer, a: Features, b: Features, mask: Tensor | None) -> Tensor:
    """A layer's part: by products of its factors where that is less work, else by gradients, some neurons at a time."""
    signal = [_signal(layer, own) for own in (a, b)]
    (samples, outputs, groups, neurons, places), others = signal[0].shape, len(signal[1])
    pairs = samples * others
    if places == 1 and groups == 1:
        read_a, read_b = (_read(layer, own, slice(None))[:, 0, :, 0] for own in (a, b))
        signal_a, signal_b = (own[:, :, 0, :, 0] for own in signal)
        return _of_one_place(read_a, read_b, signal_a, signal_b, mask)
    by_factors = pairs * places**2 * (outputs * neurons + layer.fan_in)
    by_gradients = outputs * neurons * layer.fan_in * groups * ((samples + others) * places + pairs)
    if mask is None and groups == 1 and by_factors < by_gradients:
        return _of_places(layer, a, b, signal[0][:, :, 0], signal[1][:, :, 0])
    found = signal[0].new_zeros(samples, others)
    step = max(1, PIECE_ENTRIES // (max(samples, others) * outputs * groups * layer.fan_in))
    by_group = None if mask is None else mask.view(groups, neurons, -1)
    for chosen in _slices(neurons, step):
        kept = None if by_group is None else by_group[:, chosen]
        left = _gradients(layer, a, signal[0][..., chosen, :], kept)
        right = left if a is b else _gradients(layer, b, signal[1][..., chosen, :], kept)
        found += _of_rows(left, right)
    return found


def _signal(layer: Layer, features: Features) -> Tensor:
    """The gradients of what neurons compute: samples x outputs x groups x neurons of a group x places."""
    found = []
    for use in layer.uses:
        own = features.signal[use.name]
        # Behind the axes of samples and outputs comes what is one sample for the network: most often an axis of size 1.
        rows = own.movedim(3, 2).flatten(3) if row_of(use.call).neurons == 1 else own.flatten(2, -2).mT
        found.append(rows.unflatten(2, (layer.groups, -1)))
    return found[0] if len(found) == 1 else torch.cat(found, -1)


def _read(layer: Layer, features: Features, rows: slice) -> Tensor:
    """What the neurons of a layer read: samples x groups x d x places."""
    found = []
    for use in layer.uses:
        value = features.read[use.name][rows]
        if use.patches:
            patches = unfolded(use, value.flatten(0, 1)).unflatten(0, value.shape[:2])
            seen = patches.movedim(1, 2).flatten(2)
            found.append(seen.view(len(value), use.groups, use.fan_in, -1))
        else:
            found.append(value.flatten(1, -2).mT.unsqueeze(1))
    return found[0] if len(found) == 1 else torch.cat(found, -1)


def _of_one_place(read_a: Tensor, read_b: Tensor, signal_a: Tensor, signal_b: Tensor, mask: Tensor | None) -> Tensor:
    """Of a layer that sees one row of each sample: reads b x d, signals b x c x n."""
    whole = _of_rows(signal_a.flatten(1), signal_b.flatten(1)) * _of_rows(read_a, read_b)
    if mask is None:
        return whole
    trained = int(mask.sum())
    if 2 * trained < mask.numel():
        return _of_entries(read_a, read_b, signal_a, signal_b, mask)
    return whole - _of_entries(read_a, read_b, signal_a, signal_b, ~mask)


def _of_entries(read_a: Tensor, read_b: Tensor, signal_a: Tensor, signal_b: Tensor, entries: Tensor) -> Tensor:
    """The same of some ``entries`` of the weight alone (n x d, bool): neuron by neuron those inputs that it has."""
    most = int(entries.sum(1).max())
    # The inputs of each neuron first, in a row of the same length for all; what is too much reads a zero.
    order = entries.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    index = torch.where(entries.gather(1, order), order, entries.shape[1])
    read = [torch.nn.functional.pad(own, (0, 1)) for own in (read_a, read_b)]
    found = read_a.new_zeros(len(read_a), len(read_b))
    step = max(1, PIECE_ENTRIES // (max(len(read_a), len(read_b)) * max(most, len(read_a))))
    for neurons in _slices(len(index), step):
        inputs = [own[:, index[neurons]].transpose(0, 1) for own in read]
        signals = [own[:, :, neurons].permute(2, 0, 1) for own in (signal_a, signal_b)]
        found += ((inputs[0] @ inputs[1].mT) * (signals[0] @ signals[1].mT)).sum(0)
    return found


def _of_places(layer: Layer, a: Features, b: Features, signal_a: Tensor, signal_b: Tensor) -> Tensor:
    """Of a layer that sees many rows of each sample, by the products of all rows: signals b x c x n x p."""
    places, others = signal_a.shape[-1], len(signal_b)
    right, read_b = _by_place(signal_b.flatten(1, 2)), _by_place(_read(layer, b, slice(None))[:, 0])
    found = []
    for rows in _slices(len(signal_a), max(1, PIECE_ENTRIES // (places * places * others))):
        left, read_a = _by_place(signal_a[rows].flatten(1, 2)), _by_place(_read(layer, a, rows)[:, 0])
        both = _of_rows(left, right) * _of_rows(read_a, read_b)
        found.append(both.view(-1, places, others, places).sum((1, 3)))
    return torch.cat(found)


def _by_place(values: Tensor) -> Tensor:
    """Values b x d x p as a row for each sample and place."""
    return values.mT.flatten(0, 1)


def _gradients(layer: Layer, features: Features, signal: Tensor, mask: Tensor | None) -> Tensor:
    """The gradients of some neurons' weights, as a row for each sample; ``mask``: groups x neurons x d."""
    samples, outputs, groups, neurons, places = signal.shape
    found = signal.new_empty(samples, groups, outputs, neurons, layer.fan_in)
    for rows in _slices(samples, max(1, PIECE_ENTRIES // (places * groups * layer.fan_in))):
        left = signal[rows].transpose(1, 2).flatten(2, 3)
        torch.matmul(left, _read(layer, features, rows).mT, out=found[rows].flatten(2, 3))
    if mask is not None:
        found *= mask.unsqueeze(1)
    return found.flatten(1)
