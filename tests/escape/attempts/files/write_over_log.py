"""Write over what the own log holds already, which a descriptor that appends alone does not stop (RWF_NOAPPEND).

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import errno
import os

from tests.escape import linux
from tests.escape.attempt import NotHere
from tests.escape.stage import Stage

LOG = 1
LINE = b"a line that was written once\n"
NO_APPEND = 0x20


def attempt(_stage: Stage) -> object:
    """Over a line of its own. It is not longer then."""
    os.write(LOG, LINE)
    end = os.fstat(LOG).st_size
    part = linux.vector(linux.buffer(LINE), len(LINE))
    try:
        linux.system_call("pwritev2", LOG, part, 1, end - len(LINE), 0, NO_APPEND)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise NotHere("the host is older than Linux 6.9") from error
        raise
    return os.fstat(LOG).st_size == end
