"""People, vehicles and animals in photos, seen by a network of torchvision's: candidates for passers-by.

Owns the reading of its weights and what it sees, kept in the workspace. Does not own what is made of that: a network
takes statues and façades for people, so `backend.train.transients` decides.
"""

from backend.features.people.checkpoint import on_this_machine, open_network
from backend.features.people.network import Network
from backend.features.people.seen import People

__all__ = ["Network", "People", "on_this_machine", "open_network"]
