"""Which photos are held out of training, and what heads are fitted to the others."""


from learning.sources import Sample
from learning.training import FOLDS, HELD, fold_of, held_out

HAT, SHOES = ("garments", "hat"), ("garments", "shoes")
LIME = ("groceries", "Fruit", "Lime", "Lime")


def test_folds_never_divide_a_group_and_each_category_is_in_all() -> None:
    samples = [Sample(b"", HAT, "train", group=f"sender {n // 3}") for n in range(60)]
    samples += [Sample(b"", LIME, "train", group=f"visit {n // 2}") for n in range(32)]
    folds = fold_of(samples)
    for group in {sample.group for sample in samples}:
        assert len({folds[i] for i, sample in enumerate(samples) if sample.group == group}) == 1
    for category in (HAT, LIME):
        assert {folds[i] for i, s in enumerate(samples) if s.category == category} == set(range(FOLDS))


def test_staged_pictures_and_the_only_group_of_a_category_are_never_held_out() -> None:
    samples = [Sample(b"", HAT, "train", group=f"sender {n}") for n in range(16)]
    samples += [Sample(b"", SHOES, "train", group="one seller") for _ in range(9)]
    samples += [Sample(b"", HAT, "train", group=f"drawn {n}", staged=True) for n in range(16)]
    samples += [Sample(b"", HAT, "val", group=f"other {n}") for n in range(16)]
    held = held_out(samples)
    assert held[:16].sum() == 2
    assert not held[16:].any()


def test_of_categories_with_few_groups_not_each_has_one_held_out() -> None:
    kinds = [("groceries", "Fruit", f"fruit {n}", f"fruit {n}") for n in range(24)]
    samples = [Sample(b"", kind, "train", group=f"{kind} {n // 8}") for kind in kinds for n in range(32)]
    held = held_out(samples)
    assert held.sum() == len(samples) / HELD
    whole = {sample.group for sample, out in zip(samples, held, strict=True) if not out}
    assert not whole & {sample.group for sample, out in zip(samples, held, strict=True) if out}
