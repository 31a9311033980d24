"""First thing in every Python process under `firstcause run`; then the site's own, as if we were not there."""

import contextlib
import os
import sys


def _next_site() -> None:
    """Run the sitecustomize that this one hides."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    # Without our own folder, in which the search would find this very file again.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    # In our place: whoever imports `sitecustomize` later means theirs.
    module = sys.modules["sitecustomize"] = module_from_spec(spec)
    spec.loader.exec_module(module)


def _ours() -> None:
    """Get ready; another interpreter's environment, which has no firstcause, is left alone."""
    with contextlib.suppress(ImportError):
        from firstcause._run import get_ready

        get_ready()


try:
    _ours()
finally:
    # Whatever becomes of us, theirs has to run.
    _next_site()
