"""Inner loops as vector IR, one intrinsic a loop."""
