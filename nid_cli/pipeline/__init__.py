"""Where computation meets the registry, by concern. Here: what all concerns share (the surroundings of a command,
its row in the registry, fixed tensors on disk, removed groups that are asked for again)."""
