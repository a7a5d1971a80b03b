"""What turns prompts on one picture into masks of it, or, with lifted features, into evidence in space.

`graph` needs neither a network nor features: see `region`.
"""

from backend.segment.segmenters.around import around
from backend.segment.segmenters.features import looking_alike
from backend.segment.segmenters.sam import Generated, Sam, Scale, mask_at, masked

__all__ = ["Generated", "Sam", "Scale", "around", "looking_alike", "mask_at", "masked"]
