"""Clicks and lifted features into everything in a scene that looks like what was clicked."""

from __future__ import annotations

import numpy as np

from backend.features import Lifted
from backend.features.query import alike, other_looks, prototype
from backend.segment.posterior import feature_votes, seed_votes
from backend.segment.prepared import Selection
from backend.segment.prompts import Clicks
from backend.segment.selection import Selector
from segwild_addon.protocol.errors import InputError

NAME = "features"


def looking_alike(selector: Selector, clicks: Clicks, lifted: Lifted, margin: float = 0.0) -> Selection:
    """Rows nearer to what positive clicks are on than to what negative ones are on, wherever they are.

    The scene's other looks stand beside the negative clicks: without them each keeps out its own kind alone. What
    features say is a vote per row at most; edges and rows without features follow the scene. Raises InputError if no
    positive click is on anything.
    """
    sides: dict[bool, list[np.ndarray]] = {True: [], False: []}
    pointed = {side: np.zeros(len(selector.scene)) for side in sides}
    for prompt in selector.prompts(clicks):
        seeds = prompt.seeds()
        pointed[prompt.positive][seeds.rows] += seeds.weights
        found = prototype(lifted, seeds.rows, seeds.weights)
        if found is not None:
            sides[prompt.positive].append(found)
    if not sides[True]:
        raise InputError(
            "nothing-there",
            "There is no surface with such features where was clicked.",
            "Click on a part that the render shows.",
        )
    wanted = np.stack(sides[True])
    unwanted = np.concatenate([*(each[None] for each in sides[False]), other_looks(lifted, wanted)])
    view = selector.photo.name
    on, beside = pointed[True], pointed[False]
    found = alike(lifted, wanted, unwanted, margin)
    votes = (np.where(found.chosen == side, found.confidence, 0) for side in (True, False))
    return selector.prepared.decided(
        [
            feature_votes(NAME, found.seen, *votes, view=view),
            seed_votes(np.flatnonzero(on > beside), inside=True, view=view),
            seed_votes(np.flatnonzero(beside > on), inside=False, view=view),
        ]
    )
