"""Several trunks side by side. Each is trained with linear layers of its own; the pack's say the mean of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learning.fine_tuning import Classifier, Recipe
from learning.sources import PhotosUnusable
from learning.training import Linear
from shared.vision.pack import TRUNK, Pack
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Network, finals, imagenet, load_network


@dataclass(frozen=True)
class Member:
    """A trunk and what was trained on top of it."""

    architecture: str  # timm's name
    weights: dict[str, Tensor]  # of the trunk, as timm names them
    linear: Linear


def members_of(pack: Pack) -> list[Member]:
    """The pack's trunks in its order. Of their biases only the mean is known: each gets that. Raises PackUnusable."""
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


def members_to_start_from(pack: Pack | None, taxonomy: Taxonomy) -> list[Member]:
    """None without a pack. Raises PhotosUnusable when it knows other categories, PackUnusable for other weights."""
    if pack is None:
        return []
    if pack.taxonomy.leaves != taxonomy.leaves:
        raise PhotosUnusable(f"{pack.folder} knows other categories than these photos: training can't go on from it")
    return members_of(pack)


def classifier_to_train(architecture: str, recipe: Recipe, members: Sequence[Member], taxonomy: Taxonomy) -> Classifier:
    """It goes on from the member of its architecture; without one it starts from ImageNet's weights.

    Raises Unusable when no package here carries those.
    """
    classifier = Classifier(architecture, len(taxonomy.leaves), recipe.dropout, recipe.frozen_blocks, recipe.drop_path)
    for member in members:
        if member.architecture == architecture:
            take_over(classifier, member)
            return classifier
    classifier.trunk.load_state_dict(imagenet([architecture]).trunks[0].state_dict())
    return classifier


def take_over(classifier: Classifier, member: Member) -> None:
    """Its trunk and its word on the categories."""
    classifier.trunk.load_state_dict(member.weights)
    linear = member.linear
    with torch.no_grad():
        classifier.leaf.weight.copy_(torch.from_numpy(linear.leaf_weight.T))
        classifier.leaf.bias.copy_(torch.from_numpy(linear.leaf_bias))
        classifier.audience.weight.copy_(torch.from_numpy(linear.audience_weight[None]))
        classifier.audience.bias.copy_(torch.from_numpy(linear.audience_bias))


def member_of(architecture: str, classifier: Classifier) -> Member:
    """What a trained classifier brings into the pack."""
    weights = classifier.cpu().trunk.state_dict()
    leaf, audience = classifier.leaf, classifier.audience
    linear = Linear(
        leaf_weight=leaf.weight.detach().numpy().T.copy(),
        leaf_bias=leaf.bias.detach().numpy(),
        audience_weight=audience.weight.detach().numpy()[0],
        audience_bias=audience.bias.detach().numpy(),
    )
    return Member(architecture, weights, linear)


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
