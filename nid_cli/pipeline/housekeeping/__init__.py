"""Looking after a registry and its groups: ``nid group``, ``nid db`` (checking and tidying have files of their own) and
``nid doctor``. No torch."""
