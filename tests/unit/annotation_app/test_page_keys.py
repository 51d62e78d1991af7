import pytest

from annotation_app.keys import SKIP_KEYS, keys_of


@pytest.mark.parametrize(
    ("classes", "keys"),
    [
        (["0", "1", "9"], ["0", "1", "9"]),
        (["cat", "dog", "bird"], ["1", "2", "3"]),
        (["a", "b", "other"], ["A", "B", "1"]),
        (["a", "A"], ["A", "1"]),  # one key cannot mean two classes
        (["c", "r", "s"], ["1", "2", "3"]),  # kept by Streamlit and by Skip
        ([], []),
    ],
)
def test_class_has_its_own_name_as_key_or_the_first_free(classes: list[str], keys: list[str]) -> None:
    assert list(keys_of(classes).values()) == keys


def test_no_key_means_two_things_and_the_last_of_many_have_none() -> None:
    keys = list(keys_of([f"class {n}" for n in range(60)]).values())
    given = [key for key in keys if key]
    assert len(set(given)) == len(given) == 31
    assert not set(given) & {"C", "R", *SKIP_KEYS.values()}
    assert keys[31:] == [None] * 29
