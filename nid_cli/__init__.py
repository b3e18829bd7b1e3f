"""nid: the neuron-identifiability laboratory."""

__version__ = "0.1.0"
