"""The accelerator as a frozen value, and the closed forms of its array."""
