"""The work itself, the same in every engine: a job's function is found and called with what the worker holds."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from nid_cli.errors import NidError
from nid_cli.lazy import resolve
from nid_cli.pipeline.engines.jobs import Job


def messages(job: Job, held: Mapping[str, Any], device: Any) -> Iterator[Any]:
    """The messages of a job's function.

    Args:
        held: a value for each of the job's shared keys (and perhaps others).
        device: the ``torch.device`` to compute on.
    """
    yield from resolve(job.work)(job.payload, {key: held[key] for key in job.shared}, device)


def failure(error: Exception) -> NidError:
    """An error of a job as one that can be sent and told; with NID_DEBUG=1 its traceback goes to stderr."""
    if isinstance(error, NidError):
        return error
    if os.environ.get("NID_DEBUG") == "1":
        traceback.print_exception(error)
    return NidError(f"{type(error).__name__}: {error}")
