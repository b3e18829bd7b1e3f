"""Training a group: the missing members of a run become tasks (``train``), a task trains one model with its files
(``member``), and every message that comes back is recorded in one short transaction."""
