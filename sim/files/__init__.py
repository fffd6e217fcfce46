"""Paths, texts and structured files: read with checks, written whole or not at all."""
