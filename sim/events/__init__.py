"""What hardware does, as counted events: products, conversions, vector unit, update."""
