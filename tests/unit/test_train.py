"""Training goes on from a pack where that pack stands."""

import numpy as np
import pytest
import torch

from services.operations.train import take_over
from shared.vision.fine_tuning import Classifier, predict
from shared.vision.pack import TRUNK, Pack, open_pack
from shared.vision.runtime import Torch, known_good
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import load_network

SIDE = 96


@pytest.fixture(scope="module")
def builtin() -> Pack:
    return open_pack("builtin")


def classifier_of(pack: Pack) -> Classifier:
    return Classifier(pack.manifest.trunk.architecture, len(pack.taxonomy.leaves))


def test_what_goes_on_from_a_pack_says_what_the_pack_says(builtin: Pack) -> None:
    classifier = classifier_of(builtin)
    take_over(classifier, builtin, builtin.taxonomy)
    leaf, kids = predict(classifier, known_good(SIDE), SIDE)
    network = load_network(builtin.manifest.trunk.architecture, builtin.folder / TRUNK)
    final = Torch(network, torch.device("cpu")).features(known_good(SIDE))[:, : network.final]
    heads = builtin.heads
    np.testing.assert_allclose(leaf, final @ heads.leaf_weight + heads.leaf_bias, atol=1e-3)
    np.testing.assert_allclose(kids, final @ heads.audience_weight + heads.audience_bias, atol=1e-3)


def test_a_pack_of_other_categories_cannot_be_gone_on_from(builtin: Pack) -> None:
    fewer = Taxonomy(builtin.taxonomy.leaves[:-1])
    with pytest.raises(ValueError, match="other categories"):
        take_over(classifier_of(builtin), builtin, fewer)
