"""``nid ui``: the laboratory in a browser. It reads a registry and writes nothing; torch is never imported.

``serve`` runs it; ``guard`` says which requests are answered, ``app`` by what: the functions of ``pages``, which give
the values of ``templates``. ``links`` are selections as addresses, ``drawing`` makes the figures.
"""
