"""A catalogue that the project photographs itself: a demo needs no one's pictures, and its right answers are known."""

from services.operations.rendering.demo import DemoListing, Expected, canary_photo, demo_catalogue
from services.operations.rendering.training import training_photos

__all__ = ["DemoListing", "Expected", "canary_photo", "demo_catalogue", "training_photos"]
