"""Where a model comes from, as its card tells it: runs, imports, ensembles and quantized files."""

import json
from typing import Any

REPEATED = {"repeated": True}
"""Stands in a record for a training that the record tells of before."""


def told_once(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the record of a training with `REPEATED` for each training in it that it has told of already.

    Teachers of one family share most of their past, which without this doubles with every generation. What the weights
    began with comes first, so that this line is told in full.
    """
    told = set()

    def cut(training: dict[str, Any]) -> dict[str, Any]:
        if "members" in training:
            return training | {"members": [cut_origin(member) for member in training["members"]]}
        if "model" not in training:
            return training
        parents = training.get("teacher_origins") or []
        own = {key: value for key, value in training.items() if key not in ("init_origin", "teacher_origins")}
        identity = json.dumps([own, [parent.get("sha256") for parent in parents]], sort_keys=True)
        if identity in told:
            return REPEATED
        told.add(identity)
        if training.get("init_origin"):
            training = training | {"init_origin": cut(training["init_origin"])}
        return training | {"teacher_origins": [cut_origin(parent) for parent in parents]} if parents else training

    def cut_origin(origin: dict[str, Any]) -> dict[str, Any]:
        return origin | {"training": cut(origin["training"])}

    return cut(record)
