"""Start the guest: `<python> -I -S -B /runtime/python/boot.py`, descriptor 3 the control socket.

The runtime's modules are loaded from their files under a name of their own, so that they take no entry of
`sys.path` and no module name that the user's code or its packages could want. Arguments: a directory that stands for
`/`, and the word `launch` where executors are programs of another language.
Source: runtimes/CONTRACT.md, section 1.
"""

import sys

LOADED_AT_START = frozenset(sys.modules)
PACKAGE = "_microhost_guest"


def load_guest(directory, name):
    """Make the files of `directory` a package that only we can reach, and give its module `name`."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        PACKAGE, directory + "/__init__.py", submodule_search_locations=[directory]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(PACKAGE + "." + name)


def main():
    """Load the runtime and wait for the warden; ends with the process."""
    import os
    import types

    runtime = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else ""
    if sys.argv[2:] == ["launch"]:
        load_guest(runtime + "/guest", "launching").serve(root=root)
    control = load_guest(runtime + "/guest", "control")
    # what the user's code finds as `__main__` must not lead multiprocessing and its like back into this file
    sys.modules["__main__"] = types.ModuleType("__main__")
    control.serve(runtime=runtime, root=root, loaded_at_start=LOADED_AT_START)


if __name__ == "__main__":
    main()
