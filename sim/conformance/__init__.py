"""An implementation of the number path asked and judged, live or by a file."""
