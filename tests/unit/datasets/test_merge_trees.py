import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.datasets.merge.trees import FileConflict, merge_trees
from learnloop.datasets.tree import Tree

A, B, C, D = (letter * 32 for letter in "abcd")
untimed = settings(deadline=None)
NAMES = ["a", "b", "a/b", "a/b/c", "d/e", "d/f"]


def is_tree(entries):
    return not any(other.startswith(f"{path}/") for path in entries for other in entries)


trees = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([A, B, C])).filter(is_tree)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ({}, {}, {}, {}),
        ({}, {"a": A}, {}, {"a": A}),  # added by one side
        ({}, {"a": A}, {"b": B}, {"a": A, "b": B}),  # each added its own
        ({}, {"a": A}, {"a": A}, {"a": A}),  # both added the same
        ({"a": A}, {"a": B}, {"a": A}, {"a": B}),  # changed by one side
        ({"a": A}, {"a": A}, {"a": B}, {"a": B}),
        ({"a": A}, {"a": B}, {"a": B}, {"a": B}),  # both changed alike
        ({"a": A}, {}, {"a": A}, {}),  # deleted by one side
        ({"a": A}, {"a": A}, {}, {}),
        ({"a": A}, {}, {}, {}),  # deleted by both: dvc-data raises here
        ({"a": A, "b": B}, {"a": C, "b": B}, {"a": A}, {"a": C}),
        ({"a": A}, {"a/b": B}, {"a": A}, {"a/b": B}),  # a file became a folder
        ({"a/b": A}, {"a/b": A, "c": C}, {"a": B}, {"a": B, "c": C}),
    ],
)
def test_what_merges(base, ours, theirs, merged):
    assert merge_trees(base, ours, theirs).entries == merged
    assert merge_trees(base, ours, theirs).conflicts == ()


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "paths"),
    [
        ({}, {"a": A}, {"a": B}, ["a"]),  # added with different content
        ({"a": A}, {"a": B}, {"a": C}, ["a"]),  # changed differently
        ({"a": A}, {}, {"a": B}, ["a"]),  # deleted here, changed there: dvc-data may raise KeyError
        ({"a": A}, {"a": B}, {}, ["a"]),
        ({}, {"a": A}, {"a/b": B}, ["a", "a/b"]),  # a file here, a folder there
        ({}, {"a/b/c": A, "x": A}, {"a": B, "y": B}, ["a", "a/b/c"]),
        ({"d/e": A}, {"d/e": B}, {"d": C}, ["d", "d/e"]),
    ],
)
def test_what_is_a_conflict(base, ours, theirs, paths):
    merge = merge_trees(base, ours, theirs)
    assert [conflict.path for conflict in merge.conflicts] == paths
    for path in paths:
        assert FileConflict(path, base.get(path), ours.get(path), theirs.get(path)) in merge.conflicts
        assert merge.entries.get(path) == ours.get(path)


@pytest.mark.parametrize("choice", ["ours", "theirs", "base"])
@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [({"a": A}, {"a": B}, {"a": C}), ({"a": A}, {}, {"a": C}), ({}, {"a": A}, {"a/b": B})],
)
def test_a_choice_counts(base, ours, theirs, choice):
    sides = {"base": base, "ours": ours, "theirs": theirs}
    merge = merge_trees(base, ours, theirs, dict.fromkeys(["a", "a/b"], choice))
    assert merge.entries == sides[choice]


@untimed
@given(trees, trees)
def test_against_oneself_or_the_base_nothing_happens(base, side):
    for ours, theirs in ((side, base), (base, side), (side, side)):
        merge = merge_trees(base, ours, theirs)
        assert (merge.entries, merge.conflicts) == (side, ())


@untimed
@given(trees, trees, trees)
def test_conflicts_are_the_same_from_either_side(base, ours, theirs):
    here, there = merge_trees(base, ours, theirs), merge_trees(base, theirs, ours)
    assert [(c.path, c.ours, c.theirs) for c in here.conflicts] == [(c.path, c.theirs, c.ours) for c in there.conflicts]
    contested = {conflict.path for conflict in here.conflicts}
    assert {path: md5 for path, md5 in here.entries.items() if path not in contested} == {
        path: md5 for path, md5 in there.entries.items() if path not in contested
    }


@untimed
@given(trees, trees, trees)
def test_merging_again_changes_nothing(base, ours, theirs):
    merged = merge_trees(base, ours, theirs).entries
    again = merge_trees(theirs, merged, theirs)
    assert (again.entries, again.conflicts) == (merged, ())


@untimed
@given(trees, trees, trees)
def test_one_rule_for_every_path(base, ours, theirs):
    """What the merge must be, path by path; where nothing is a file here and a folder there."""
    merge = merge_trees(base, ours, theirs)
    contested = {conflict.path for conflict in merge.conflicts}
    for path in NAMES:
        b, o, t = base.get(path), ours.get(path), theirs.get(path)
        if o == t or t == b:
            wanted = o
        elif o == b:
            wanted = t
        else:
            wanted = o
            assert path in contested
        if path not in contested:
            assert merge.entries.get(path) == wanted
    for choice in ("ours", "theirs"):
        Tree(merge_trees(base, ours, theirs, dict.fromkeys(contested, choice)).entries)


@untimed
@given(trees, st.dictionaries(st.sampled_from(["x", "y"]), st.just(D)), st.dictionaries(st.just("z"), st.just(D)))
def test_disjoint_changes_give_both(base, added, others):
    merge = merge_trees(base, base | added, base | others)
    assert (merge.entries, merge.conflicts) == (base | added | others, ())
