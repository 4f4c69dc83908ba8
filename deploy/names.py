"""What may be a name in a description, and of a system."""

from __future__ import annotations

import re
from typing import Final

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NAME_RULE: Final = "a name is a small letter, then up to 31 small letters, digits, - or _"
