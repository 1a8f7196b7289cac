"""The microscope: open any network and any image, and walk inside, live.

One Python core answers the requests of a small protocol (``docs/microscope-protocol.md``). Three hosts carry it: a
local server, a saved file, and a notebook cell. One page shows it.
"""

from __future__ import annotations
