"""``loop: quality:`` of a dataset.yaml: what is wrong is named by its field."""

from __future__ import annotations

import pytest
import yaml
from dataset_folders import description

from learnloop.datasets.schema import MOST_CONFUSED, loop_config, parse_config
from learnloop.errors import InvalidDataset


def parsed(quality: dict[str, object], **changes: object):
    return parse_config(yaml.safe_dump(description(loop={"quality": quality}, **changes)).encode(), "dataset.yaml")


def test_a_policy_is_kept_as_written() -> None:
    wanted = {
        "overlap": 3,
        "overlap_share": 0.25,
        "consensus": "dawid_skene",
        "agreement": 0.9,
        "most_opinions": 7,
        "fast_answers": "review",
        "fast_ratio": 0.1,
        "slow_answers": "second_opinion",
        "slow_ratio": 20.0,
        "suspicion": "accept",
        "check": "none",
    }
    config = parsed(wanted)
    assert wanted.items() <= loop_config(config.stored_loop()).quality.model_dump().items()


@pytest.mark.parametrize(
    ("quality", "problem"),
    [
        ({"overlap": 0}, "loop.quality.overlap: "),
        ({"overlap": "three"}, "loop.quality.overlap: "),
        ({"overlap": 7}, "loop.quality.most_opinions: must be at least overlap (7)"),
        ({"overlap": 4, "most_opinions": 3}, "loop.quality.most_opinions: must be at least overlap (4)"),
        ({"overlap_share": 0}, "loop.quality.overlap_share: "),
        ({"overlap_share": 1.5}, "loop.quality.overlap_share: "),
        ({"consensus": "vote"}, "loop.quality.consensus: "),
        ({"agreement": 0.4}, "loop.quality.agreement: "),
        ({"check": "hope"}, "loop.quality.check: "),
        ({"fast_answers": "reject"}, "loop.quality.fast_answers: "),
        ({"fast_ratio": 1}, "loop.quality.fast_ratio: "),
        ({"slow_answers": "reject"}, "loop.quality.slow_answers: "),
        ({"slow_ratio": 1}, "loop.quality.slow_ratio: "),
        ({"suspicion": True}, "loop.quality.suspicion: "),
        ({"overlaps": 2}, "loop.quality.overlaps: is not a known field"),
    ],
)
def test_a_wrong_field_is_named(quality, problem) -> None:
    with pytest.raises(InvalidDataset) as error:
        parsed(quality)
    assert problem in str(error.value)


def test_dawid_skene_is_not_for_thousands_of_classes() -> None:
    many = [f"c{n}" for n in range(MOST_CONFUSED + 1)]
    with pytest.raises(
        InvalidDataset, match=r"- loop.quality.consensus: dawid_skene is for at most 100 classes"
    ) as error:
        parsed({"consensus": "dawid_skene"}, classes=many)
    assert "use majority" in str(error.value)
    parsed({"consensus": "majority"}, classes=many)
