"""The trunks of a pack: some fine-tuned, each with layers of its own while it was; and a generalist, left as it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learning.fine_tuning import Classifier, Recipe
from learning.training import Audience, Generalist
from learning.vocabulary import imagenet_classes
from shared.vision.heads import Array
from shared.vision.pack import TRUNK, Pack
from shared.vision.trunk import Network, imagenet, imagenet_classifier, load_network

GENERALIST = "tf_efficientnet_lite0"  # at 224 pixels it knows more of ImageNet than lite2, which was made for 260


@dataclass(frozen=True)
class Member:
    """A fine-tuned trunk and what it was taught of the audience."""

    architecture: str  # timm's name
    weights: dict[str, Tensor]  # of the trunk, as timm names them
    audience: Audience


def generalist() -> Generalist:
    """ImageNet's classes but for those that say nothing. Raises Unusable without the package that carries them."""
    weight, bias = imagenet_classifier(GENERALIST)
    told = {one.number: one.path for one in imagenet_classes() if one.path is not None}
    return Generalist(weight[:, list(told)], bias[list(told)], tuple(told.values()))


def members_of(pack: Pack | None) -> list[Member]:
    """The pack's fine-tuned trunks in its order; none without a pack. Raises PackUnusable.

    Of their biases only the mean is known: each gets that.
    """
    if pack is None:
        return []
    spec = pack.manifest.trunk
    trunks = load_network(spec.architectures, pack.folder / TRUNK).trunks
    weights = np.split(pack.heads.audience_weight, np.cumsum(spec.finals)[:-1])[:-1]
    audiences = [Audience(weight * len(weights), pack.heads.audience_bias) for weight in weights]
    states = [trunk.state_dict() for trunk in trunks]
    return [Member(*each) for each in zip(spec.architectures[:-1], states[:-1], audiences, strict=True)]


def classifier_to_train(architecture: str, recipe: Recipe, members: Sequence[Member], leaves: int) -> Classifier:
    """It goes on from the member of its architecture; without one it starts from ImageNet's weights.

    Its word on the leaves is always learned anew. Raises Unusable when no package here carries those weights.
    """
    classifier = Classifier(architecture, leaves, recipe.dropout, recipe.frozen_blocks, recipe.drop_path)
    for member in members:
        if member.architecture == architecture:
            _take_over(classifier, member)
            return classifier
    classifier.trunk.load_state_dict(imagenet([architecture]).trunks[0].state_dict())
    return classifier


def _take_over(classifier: Classifier, member: Member) -> None:
    classifier.trunk.load_state_dict(member.weights)
    with torch.no_grad():
        classifier.audience.weight.copy_(torch.from_numpy(member.audience.weight[None]))
        classifier.audience.bias.copy_(torch.from_numpy(member.audience.bias))


def member_of(architecture: str, classifier: Classifier) -> Member:
    """What a trained classifier brings into the pack."""
    weights = classifier.cpu().trunk.state_dict()
    layer = classifier.audience
    audience = Audience(layer.weight.detach().numpy()[0], layer.bias.detach().numpy())
    return Member(architecture, weights, audience)


def joined(members: Sequence[Member]) -> tuple[Network, Audience]:
    """One network, the generalist its last trunk, and the mean of the members' logits on its final features."""
    network = Network([*(member.architecture for member in members), GENERALIST])
    for trunk, member in zip(network.trunks, members, strict=False):
        trunk.load_state_dict(member.weights)
    network.trunks[-1].load_state_dict(imagenet([GENERALIST]).trunks[0].state_dict())
    weights: list[Array] = [member.audience.weight / np.float32(len(members)) for member in members]
    bias = np.mean([member.audience.bias for member in members], axis=0)
    return network.eval(), Audience(np.concatenate([*weights, np.zeros(network.finals[-1], np.float32)]), bias)
