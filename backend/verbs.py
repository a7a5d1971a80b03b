"""The verbs of SegWild: the request each takes and the module of its stage.

A stage is imported only when its verb is called, so that the command line and the service answer at once.
"""

from __future__ import annotations

from segwild_addon.protocol import requests

# Who writes into a scene on the command line does so alone; the first also replace what a service works with.
REPLACING = ("run", "capture", "train", "import")
WRITING = (*REPLACING, "embed", "lift", "masks", "affinity", "segment", "transfer", "objects", "appearance")
VERBS: dict[str, tuple[type, str]] = {
    "demo": (requests.Demo, "backend.stages.demo"),
    "run": (requests.Run, "backend.stages.run"),
    "capture": (requests.Capture, "backend.stages.capture"),
    "train": (requests.Train, "backend.stages.train"),
    "embed": (requests.Embed, "backend.stages.embed"),
    "lift": (requests.Lift, "backend.stages.lift"),
    "masks": (requests.Masks, "backend.stages.masks"),
    "affinity": (requests.Affinity, "backend.stages.affinity"),
    "segment": (requests.Segment, "backend.stages.segment"),
    "transfer": (requests.Transfer, "backend.stages.transfer"),
    "objects": (requests.Objects, "backend.stages.objects"),
    "appearance": (requests.Appearance, "backend.stages.appearance"),
    "render": (requests.Render, "backend.stages.render"),
    "export": (requests.Export, "backend.stages.export"),
    "import": (requests.Import, "backend.stages.import_"),
    "evaluate": (requests.Evaluate, "backend.stages.evaluate"),
    "report": (requests.Report, "backend.stages.result_page"),
    "evaluate-masks": (requests.EvaluateMasks, "backend.stages.evaluate_masks"),
    "sample": (requests.Sample, "backend.stages.sample"),
    "serve": (requests.Serve, "backend.service.lifecycle"),
    "doctor": (requests.Doctor, "backend.stages.doctor"),
}
