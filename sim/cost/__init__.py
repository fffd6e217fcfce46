"""The cost of a step on a machine: tiles, cycles, words, events, energy."""
