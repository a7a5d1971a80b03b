"""The add-on's side of the conversation with the backend. Standard library and numpy; knows nothing of bpy.

Owns the backend's process (`process`), its environment (`install`), requests (`http`), the event stream
(`stream`) and large arrays (`arrays`); `Backend` is all of it for a session. Draws nothing and touches no
scene: what happens arrives in a queue that the session empties when it likes.
"""

from .backend import Answered, Backend
from .http import UNREACHABLE, Address
from .install import Installation, Installer, Plan, inspected, installed
from .process import Launch, command_of
from .status import ABSENT, Status
from .stream import Rewound, Unreadable

__all__ = [
    "ABSENT",
    "UNREACHABLE",
    "Address",
    "Answered",
    "Backend",
    "Installation",
    "Installer",
    "Launch",
    "Plan",
    "Rewound",
    "Status",
    "Unreadable",
    "command_of",
    "inspected",
    "installed",
]
