"""First on the path of every process of a cluster: leaves out what Ray imports wherever it is installed.

With simulated engines nothing uses pandas and pyarrow, and they are a third of what a replica costs to start.
"""

import sys

for _name in ("pandas", "pyarrow"):
    sys.modules[_name] = None  # type: ignore[assignment] # an import then fails as for a package that is missing
