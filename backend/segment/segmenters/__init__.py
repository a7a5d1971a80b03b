"""What turns prompts on one picture into masks of it, where a network does. `graph` needs none: see `region`."""

from backend.segment.segmenters.sam import Generated, Sam, Scale, mask_at, masked

__all__ = ["Generated", "Sam", "Scale", "mask_at", "masked"]
