"""The curves of a training run, as CSV and as a picture. A run that goes on adds to them."""

import csv
import time
from dataclasses import asdict
from pathlib import Path

from learning.fine_tuning import Epoch


class Curves:
    """Kept in the run's folder, drawn anew with each epoch."""

    def __init__(self, work: Path) -> None:
        self._csv = work / "curves.csv"
        self._started = time.monotonic()

    def add(self, epoch: Epoch) -> None:
        row = asdict(epoch) | {"seconds": round(time.monotonic() - self._started)}
        new = not self._csv.is_file()
        with self._csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure  # takes a second to load

        with self._csv.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        figure = Figure(figsize=(8, 4), layout="constrained")
        loss, accuracy = figure.subplots(1, 2)
        epochs = [row["epoch"] + 1 for row in rows]
        loss.plot(epochs, [row["loss"] for row in rows])
        loss.set(xlabel="epoch", ylabel="loss, augmented pictures")
        accuracy.plot(epochs, [row["accuracy"] for row in rows], label="augmented pictures")
        accuracy.plot(epochs, [row["held_out"] for row in rows], label="held out, averaged weights")
        accuracy.set(xlabel="epoch", ylabel="top-1")
        accuracy.legend()
        figure.savefig(self._csv.with_suffix(".png"), dpi=120)
