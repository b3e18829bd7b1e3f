"""Runs that exist already: ``reference`` reads the reference code's directories and knows no registry, ``exchange``
takes groups over from other registries, ``register`` finds the sources and records them."""
