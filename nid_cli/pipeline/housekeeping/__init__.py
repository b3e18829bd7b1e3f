"""Looking after a registry and its groups: a file a command (``nid group``, ``nid db check`` ..., ``nid doctor``).
No torch."""
