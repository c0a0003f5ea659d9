"""From lit things to a photo: placing, shadow, light of the room, lens, sensor and JPEG."""

from dataclasses import dataclass

import cv2
import numpy as np

from studio.cloth import Sprite
from studio.fields import Field, Random, Size, grain, ramp, resized


@dataclass(frozen=True)
class Pose:
    """Where a sprite lies in the photo: its centre and its width in pixels, its turn in radians, its perspective."""

    centre: tuple[float, float]
    side: float
    turn: float
    tilt: tuple[float, float] = (0.0, 0.0)
    flipped: bool = False


def placed(sprite: Sprite, pose: Pose, size: Size) -> Sprite:
    """The sprite warped to photo pixels."""
    h, w = sprite.alpha.shape
    aspect = h / w
    corners = (
        np.array([[-0.5, -0.5 * aspect], [0.5, -0.5 * aspect], [0.5, 0.5 * aspect], [-0.5, 0.5 * aspect]]) * pose.side
    )
    if pose.flipped:
        corners[:, 0] *= -1
    cos, sin = np.cos(pose.turn), np.sin(pose.turn)
    corners = corners @ np.array([[cos, sin], [-sin, cos]])
    depth = 1 + (corners * pose.tilt).sum(1) / (pose.side * max(1.0, aspect))
    target = (corners / depth[:, None] + pose.centre).astype(np.float32)
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    # Premultiplied, so that the black around the sprite does not bleed into its edge.
    layers = np.dstack([sprite.rgb * sprite.alpha[..., None], sprite.alpha])
    flags = cv2.INTER_LINEAR if pose.side > 0.7 * w else cv2.INTER_AREA
    warped = cv2.warpPerspective(layers, matrix, (size[1], size[0]), flags=flags)
    return Sprite(warped[..., :3], warped[..., 3])


def composed(ground: Field, layer: Sprite, light: float, height: float = 8.0, strength: float = 0.5) -> Field:
    """`layer` (premultiplied, of the photo's size) `height` pixels above `ground`, with a soft and a contact shadow."""
    size = layer.alpha.shape
    small = cv2.resize(layer.alpha, (size[1] // 4, size[0] // 4), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(1.0, height / 4 * 0.9))
    away = np.array([[1, 0, -np.cos(light) * height / 4], [0, 1, -np.sin(light) * height / 4]])
    soft = cv2.warpAffine(soft, away, (soft.shape[1], soft.shape[0]))
    contact = cv2.GaussianBlur(small, (0, 0), 1.2)
    shadow = resized(np.clip(strength * soft + 0.28 * contact, 0, 0.85), (size[0], size[1]))
    result = ground * (1 - shadow)[..., None]
    return np.asarray(result * (1 - layer.alpha)[..., None] + layer.rgb, np.float32)


@dataclass(frozen=True)
class Exposure:
    """How the room and the phone's camera colour a photo."""

    gain: float
    warmth: float  # -1 cold to 1 warm
    gradient: float
    gradient_angle: float
    vignette: float
    blur: float  # sigma in pixels
    noise: float
    contrast: float
    quality: int  # JPEG

    @staticmethod
    def drawn(random: Random) -> "Exposure":
        return Exposure(
            gain=float(random.uniform(0.84, 1.08)),
            warmth=float(random.uniform(-0.6, 0.8)),
            gradient=float(random.uniform(0.03, 0.2)),
            gradient_angle=float(random.uniform(0, 2 * np.pi)),
            vignette=float(random.uniform(0.03, 0.22)),
            blur=float(random.uniform(0.45, 0.95)),
            noise=float(random.uniform(0.005, 0.02)),
            contrast=float(random.uniform(0.95, 1.12)),
            quality=int(random.integers(80, 94)),
        )


def taken(scene: Field, exposure: Exposure, random: Random) -> bytes:
    """The JPEG that a phone's camera makes of a scene (float32 RGB)."""
    size = scene.shape[0], scene.shape[1]
    coarse = (size[0] // 8, size[1] // 8)
    y, x = np.mgrid[-1 : 1 : coarse[0] * 1j, -1 : 1 : coarse[1] * 1j]
    fall = 1 - exposure.vignette * (x**2 + y**2) / 2
    light = exposure.gain * fall * (1 + exposure.gradient * ramp(coarse, exposure.gradient_angle))
    balance = np.array([1 + 0.07 * exposure.warmth, 1.0, 1 - 0.09 * exposure.warmth], np.float32)
    room = resized((light[..., None] * balance).astype(np.float32), size)
    picture = cv2.GaussianBlur(np.multiply(scene, room, dtype=np.float32), (0, 0), exposure.blur)
    contrast = np.float32(exposure.contrast)
    picture = picture * contrast + np.float32(0.45 * (1 - exposure.contrast))
    # Brightness noise in each pixel, colour noise twice as coarse: what a small sensor and its denoiser leave.
    half = (size[0] // 2 + 1, size[1] // 2 + 1)
    tint = cv2.merge([grain(random, half) for _ in range(3)])
    speck = grain(random, size)[..., None] + 0.6 * cv2.resize(tint, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    picture += speck * np.float32(exposure.noise)
    bgr = cv2.cvtColor(cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255), cv2.COLOR_RGB2BGR)
    done, body = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, exposure.quality])
    assert done
    return body.tobytes()
