"""Training a group: the missing members of a run become tasks (``train``, ``tasks``), which an engine runs; a task
trains one model with its files (``member``); each message that comes back is recorded in one short transaction
(``recording``) and shown (``progress``)."""
