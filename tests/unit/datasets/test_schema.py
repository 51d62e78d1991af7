import pytest
import yaml
from dataset_folders import description

from learnloop.datasets.schema import LoopConfig, loop_config, parse_config, read_config
from learnloop.errors import InvalidDataset


def parsed(**changes):
    return parse_config(yaml.safe_dump(description(**changes)).encode(), "dataset.yaml")


def test_what_is_left_out_has_its_default():
    config = parsed()
    assert config.loop == LoopConfig()
    assert config.loop.query.strategy == "diverse_mini_batch"
    assert config.loop.trainer.hidden == [32]
    assert loop_config(config.stored_loop()) == config.loop
    assert config.stored_loop()["classes"] == ["dark", "bright"]


def test_no_canary_is_tried_unless_it_is_said():
    assert parsed().loop.canary is None
    config = parsed(loop={"canary": {"seconds": 60}})
    assert loop_config(config.stored_loop()).canary.model_dump() == {"percent": 10, "seconds": 60.0, "requests": 100}
    assert parsed(loop={"canary": {}}).loop.canary is not None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Has Capitals"}, "name: "),
        ({"name": "a" * 64}, "name: "),
        ({"classes": [0, 1]}, "classes[0]: must be text"),
        ({"classes": ["a"]}, "classes: "),
        ({"classes": ["a", "b", "a"]}, "more than once: a"),
        ({"classes": ["a", ""]}, "classes[1]: "),
        ({"image": {"width": "8", "height": 8}}, "image.width: "),
        ({"image": {"width": 8}}, "image.height: is missing"),
        ({"image": {"width": 8, "height": 8, "mode": "CMYK"}}, "image.mode: "),
        ({"split": {"test_fraction": 1.0}}, "split.test_fraction: "),
        ({"split": {"test_fraction": float("nan")}}, "split.test_fraction: "),
        ({"task_type": "text_classification"}, "image: is for image_classification, and this is text_classification"),
        (
            {"task_type": "tabular_classification", "image": None},
            "tabular: is missing: tabular_classification needs it",
        ),
        ({"image": None}, "image: is missing: image_classification needs it"),
        ({"task_type": "poetry"}, "task_type: "),
        ({"colour": "red"}, "colour: is not a known field"),
        ({"loop": {"gate": {"max_class_drop": 2}}}, "loop.gate.max_class_drop: "),
        ({"loop": {"trainer": {"hidden": [0]}}}, "loop.trainer.hidden[0]: "),
        ({"loop": {"query": {"strategy": "astrology"}}}, "loop.query.strategy: there is no query strategy 'astrology'"),
        ({"loop": {"query": {"strategy": "astrology"}}}, "there are: class_balanced, committee_divergence, diverse_"),
        ({"loop": {"query": {"strategy": 7}}}, "loop.query.strategy: must be text"),
        ({"loop": {"query": {"random_share": 1.5}}}, "loop.query.random_share: "),
        ({"loop": {"query": {"random_share": -0.1}}}, "loop.query.random_share: "),
        ({"loop": {"query": {"random_share": float("nan")}}}, "loop.query.random_share: "),
        ({"loop": {"query": {"random_share": "10 %"}}}, "loop.query.random_share: "),
        ({"loop": {"query": {"committee": 1}}}, "loop.query.committee: "),
        ({"loop": {"canary": {"percent": 51}}}, "loop.canary.percent: "),
        ({"loop": {"canary": {"percent": 0}}}, "loop.canary.percent: "),
        ({"loop": {"canary": {"seconds": 0}}}, "loop.canary.seconds: "),
        ({"loop": {"canary": {"requests": -1}}}, "loop.canary.requests: "),
        ({"loop": {"canary": {"share": 10}}}, "loop.canary.share: is not a known field"),
        ({"loop": {"canary": True}}, "loop.canary: "),
        ({"loop": {"classes": ["a", "b"]}}, "loop.classes: is not a known field"),
    ],
)
def test_a_wrong_field_is_named(changes, problem):
    with pytest.raises(InvalidDataset) as error:
        parsed(**changes)
    assert problem in str(error.value)
    assert "dataset.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a: [1", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"day: 2020-13-45", "not YAML"),
        (b"[" * 100_000, "not YAML"),
        (b"- a", "mapping"),
        (b"", "mapping"),
        (b"#" * (1 << 20) + b"##", "larger than 1 MiB"),
    ],
)
def test_what_is_no_description(data, problem):
    with pytest.raises(InvalidDataset, match=problem):
        parse_config(data, "dataset.yaml")


def test_all_problems_are_listed_at_once():
    with pytest.raises(InvalidDataset) as error:
        parsed(name="!", image={"width": 0, "height": 0})
    assert len(error.value.problems) == 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidDataset, match=r"dataset\.yaml does not exist"):
        read_config(tmp_path)
    with pytest.raises(InvalidDataset, match=r"dataset\.yaml does not exist"):
        read_config(tmp_path / "nowhere")
