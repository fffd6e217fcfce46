"""What a training step computes: its products, vector operations and tensors."""
