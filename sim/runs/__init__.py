"""Training runs and sweeps: configuration, loop, checkpoint, record, workers."""
