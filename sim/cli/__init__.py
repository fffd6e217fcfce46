"""The command line, a file a command."""

from .main import main as main
