"""Photos to cameras to Gaussians to features to selections to assets.

Layers, top to bottom: `cli` · `stages` · `segment` · `features` · `train` · `capture | formats | render` ·
`scene`. A layer imports only what lies below it; `progress` lies below them all.
"""

__version__ = "0.1.0"
