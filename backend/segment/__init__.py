"""Prompts into named objects: clicks, boxes and masks become rows of Gaussians that a person can keep.

Owns segmenters, votes, cuts, the table of objects, the scores of masks, and what a workspace looks like with
the looks of its objects. Does not own features (`features`), pictures' scores or looks themselves (`train`).
"""
