"""What an event costs: price rows with their sources, as intervals."""
