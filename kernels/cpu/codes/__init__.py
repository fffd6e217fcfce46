"""Real numbers to codes and back, codes to codes, and Madam's step on codes."""
