"""A catalogue that the project photographs itself: a demo needs no one's pictures, and its right answers are known."""

from studio.demo import DemoListing, Expected, canary_photo, demo_catalogue
from studio.training import training_photos

__all__ = ["DemoListing", "Expected", "canary_photo", "demo_catalogue", "training_photos"]
