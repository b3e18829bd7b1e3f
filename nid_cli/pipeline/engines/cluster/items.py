"""What the items of a job's stream are: (kind, value)."""

from __future__ import annotations

BEGUN, UNFIT, SAID, OVER = "begun", "unfit", "said", "over"
