"""Where computation meets the registry: one file per verb, torch imported only where it is needed."""
