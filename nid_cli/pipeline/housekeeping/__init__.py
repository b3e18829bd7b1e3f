"""Looking after a registry and its groups: one file for each command (``nid group``, ``nid db check``, ``nid doctor``
...). No torch."""
