import pytest

from learnloop.datasets.merge.config import merge_configs

BASE = {"name": "lamps", "classes": ["dark", "bright"], "image": {"width": 8, "height": 8}}


def changed(**settings):
    return {**BASE, **settings}


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        (BASE, BASE, BASE),
        (changed(description="x"), BASE, changed(description="x")),
        (BASE, changed(image={"width": 9, "height": 8}), changed(image={"width": 9, "height": 8})),
        (
            changed(image={"width": 9, "height": 8}),
            changed(image={"width": 8, "height": 9}),
            changed(image={"width": 9, "height": 9}),
        ),
        (changed(classes=["dark", "bright", "dim"]), BASE, changed(classes=["dark", "bright", "dim"])),
        (changed(loop={"policy": {"labels": 3}}), changed(loop={"gate": {"min_gain": 0.1}}),
         changed(loop={"policy": {"labels": 3}, "gate": {"min_gain": 0.1}})),
        (changed(description="x"), {"name": "lamps", "classes": ["dark", "bright"]},
         {"name": "lamps", "classes": ["dark", "bright"], "description": "x"}),
    ],
)  # fmt: skip
def test_what_merges(ours, theirs, merged):
    for one, other in ((ours, theirs), (theirs, ours)):
        merge = merge_configs(BASE, one, other)
        assert (merge.content, merge.conflicts, merge.notes) == (merged, (), ())


def test_classes_that_both_sides_added_are_joined_and_it_is_said():
    ours, theirs = changed(classes=["dark", "bright", "dim"]), changed(classes=["dark", "bright", "red", "dim"])
    merge = merge_configs(BASE, ours, theirs)
    assert merge.content["classes"] == ["dark", "bright", "dim", "red"]
    assert merge.conflicts == ()
    assert "dark, bright, dim, red" in merge.notes[0]


@pytest.mark.parametrize("choice", ["ours", "theirs", "base"])
@pytest.mark.parametrize(
    ("setting", "ours", "theirs"),
    [
        ("description", changed(description="x"), changed(description="y")),
        ("classes", changed(classes=["dark"]), changed(classes=["dark", "bright", "dim"])),
        ("classes", changed(classes=["bright", "dark"]), changed(classes=["dark", "bright", "dim"])),
        ("image.width", changed(image={"width": 9, "height": 8}), changed(image={"width": 7, "height": 8})),
        ("image.width", changed(image={"width": 9, "height": 8}), changed(image={"height": 8})),
    ],
)
def test_what_is_a_conflict(setting, ours, theirs, choice):
    merge = merge_configs(BASE, ours, theirs, {setting: choice})
    assert [conflict.setting for conflict in merge.conflicts] == [setting]
    assert merge.content == {"base": BASE, "ours": ours, "theirs": theirs}[choice]
    assert merge_configs(BASE, ours, theirs).content == ours
