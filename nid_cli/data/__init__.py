"""Data sets: what there is (``catalog``, without torch) and the tensors themselves (``load``)."""
