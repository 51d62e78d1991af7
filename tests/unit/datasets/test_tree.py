import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.datasets.tree import Tree, dumps, loads, tree_hash
from learnloop.errors import InvalidInput

A, B = "a" * 32, "b" * 32
names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda n: n not in (".", "..")
)


@given(st.dictionaries(names, st.sampled_from([A, B])))
def test_bytes_and_hash_are_those_of_dvc(entries):
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree as DvcTree

    theirs = DvcTree()
    for path, md5 in entries.items():
        theirs.add((path,), None, HashInfo("md5", md5))
    theirs.digest()
    ours = Tree(entries)
    assert dumps(ours) == theirs.as_bytes()
    assert tree_hash(ours) == theirs.hash_info.value
    assert loads(dumps(ours)) == ours


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "a//b", "", ".", "a/", "a\0b"])
def test_a_path_that_leaves_the_tree_is_refused(path):
    with pytest.raises(InvalidInput, match="not a path inside"):
        Tree({path: A})


def test_a_path_cannot_be_a_file_and_a_folder():
    with pytest.raises(InvalidInput, match="both a file and a folder"):
        Tree({"a": A, "a b": A, "a/b/c": A})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}x",
        b'{"a": 1}',
        b'[{"md5": "x", "relpath": "a"}]',
        b"[1]",
        b'[{"relpath": "a"}]',
        b'[{"md5": 1, "relpath": "a"}]',
        b'[{"md5": "%s", "relpath": "a"}, {"md5": "%s", "relpath": "a"}]' % (A.encode(), B.encode()),
    ],
)
def test_bytes_that_are_no_tree(data):
    with pytest.raises(InvalidInput):
        loads(data)


def test_a_tree_does_not_change():
    tree = Tree({"b": B, "a": A})
    assert list(tree) == ["a", "b"]
    assert dict(tree.updated({"b": A, "c": B})) == {"a": A, "b": A, "c": B}
    assert dict(tree) == {"a": A, "b": B}
