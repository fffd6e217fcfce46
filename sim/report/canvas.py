"""matplotlib, imported whatever MPLBACKEND says; to be imported before any part of it.

Pictures here are drawn on Agg canvases and open no window. MPLBACKEND may name a backend that is
not installed (`module://matplotlib_inline.backend_inline`, inherited from a notebook's kernel), and
then `import matplotlib` itself fails; it is tried again without that variable, which stays as it is
for everyone else.
"""

import os
import sys


def _import_matplotlib() -> None:
    try:
        import matplotlib
    except ValueError:
        backend = os.environ.pop("MPLBACKEND", None)
        if backend is None:
            raise
        for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
            del sys.modules[name]  # of the import that failed; the new package must have its own
        try:
            import matplotlib  # noqa: F401
        finally:
            os.environ["MPLBACKEND"] = backend


_import_matplotlib()
