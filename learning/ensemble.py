"""Several trunks side by side. Each was trained with linear layers of its own; the pack's say the mean of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from learning.training import Linear
from shared.vision.pack import TRUNK, Pack
from shared.vision.trunk import Network, finals, load_network


@dataclass(frozen=True)
class Member:
    """A trunk and what was trained on top of it."""

    architecture: str  # timm's name
    weights: dict[str, Tensor]  # of the trunk, as timm names them
    linear: Linear


def members_of(pack: Pack) -> list[Member]:
    """In the pack's order. Of their biases only the mean is known: each gets that. Raises ValueError."""
    architectures, heads = pack.manifest.trunk.architectures, pack.heads
    trunks = load_network(architectures, pack.folder / TRUNK).trunks
    cuts = np.cumsum(finals(trunks))[:-1]
    linears = [
        Linear(
            leaf_weight=leaf_weight * len(architectures),
            leaf_bias=heads.leaf_bias,
            audience_weight=audience_weight * len(architectures),
            audience_bias=heads.audience_bias,
        )
        for leaf_weight, audience_weight in zip(
            np.split(heads.leaf_weight, cuts), np.split(heads.audience_weight, cuts), strict=True
        )
    ]
    return [Member(*each) for each in zip(architectures, (t.state_dict() for t in trunks), linears, strict=True)]


def joined(members: Sequence[Member]) -> tuple[Network, Linear]:
    """One network, and linear layers on its final features that give the mean of the members' logits."""
    network = Network([member.architecture for member in members])
    for trunk, member in zip(network.trunks, members, strict=True):
        trunk.load_state_dict(member.weights)
    linears, share = [member.linear for member in members], np.float32(1 / len(members))
    return network.eval(), Linear(
        leaf_weight=np.multiply(np.concatenate([linear.leaf_weight for linear in linears]), share),
        leaf_bias=np.mean([linear.leaf_bias for linear in linears], axis=0),
        audience_weight=np.multiply(np.concatenate([linear.audience_weight for linear in linears]), share),
        audience_bias=np.mean([linear.audience_bias for linear in linears], axis=0),
    )
