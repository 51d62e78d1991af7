"""The table of storage classes: what is shipped is cited, and what is wrong is told."""

from pathlib import Path
from typing import Any

import pytest

from learnloop.errors import InvalidInput
from learnloop.mounts.providers import PROVIDERS
from learnloop.mounts.table import load_table, parse_table, products

EXAMPLE = Path(__file__).parents[3] / "deploy" / "kubernetes" / "storage-classes.yaml"
GOOD: dict[str, Any] = {"product": "aws-ebs-gp3", "storage_class": "gp3"}


def test_every_product_is_cited_and_every_provider_sold() -> None:
    sold = products()["products"]
    for name, product in sold.items():
        assert product["source"].startswith("https://"), name
        assert str(product["as_of"])[:3] == "202", name
    assert {product["provider"] for product in sold.values()} == set(PROVIDERS)


def test_the_example_is_whole_and_has_every_provider() -> None:
    table = load_table(str(EXAMPLE), "kubernetes")
    assert {one.provider for one in table.classes.values()} == set(PROVIDERS)


def test_one_machine_needs_no_table_and_a_cluster_does() -> None:
    assert list(load_table("", "local").classes) == ["disk"]
    with pytest.raises(InvalidInput, match=r"LEARNLOOP_STORAGE_CLASSES names no table.*storage-classes\.yaml"):
        load_table("", "kubernetes")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": {**GOOD, "product": "gp9"}}, "classes.a.product: there is no 'gp9'; there are node-root-disk"),
        ({"a": {**GOOD, "provider": "floppy"}}, "classes.a.provider: there is no storage provider 'floppy'"),
        ({"a": {**GOOD, "price": {"gib_month": -1}}}, "classes.a.price.gib_month: Input should be greater than"),
        ({"a": {**GOOD, "prise": 1}}, "classes.a.prise: Extra inputs"),
        ({"a": {**GOOD, "largest": "lots"}}, "classes.a.largest"),
        ({"a": {"product": "aws-ebs-gp3"}}, "classes.a: say how it is reached: storage_class"),
        ({"a": {"product": "aws-s3-standard"}}, "classes.a: say how it is reached: url or storage_class"),
        ({"a": {**GOOD, "url": "s3://b"}}, "classes.a: ssd takes no url"),
        ({"a": {"product": "aws-s3-standard", "url": "s3://key:secret@b"}}, "classes.a.url"),
        ({"a": {"provider": "nfs", "storage_class": "x"}}, "classes.a.price: Field required"),
        ({"a": "gp3"}, "classes.a: it is no mapping"),
        ({}, "classes: Dictionary should have at least 1"),
    ],
)
def test_faults_are_named(classes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=r"the storage classes in t\.yaml are not valid") as caught:
        parse_table({"currency": "USD", "classes": classes}, "t.yaml", "kubernetes")
    assert message in str(caught.value)


def test_a_product_is_priced_in_its_currency() -> None:
    with pytest.raises(InvalidInput, match=r"classes\.a\.price: aws-ebs-gp3 is priced in USD; say your price"):
        parse_table({"currency": "EUR", "classes": {"a": GOOD}}, "t.yaml", "kubernetes")
    own = parse_table({"currency": "EUR", "classes": {"a": {**GOOD, "price": {"gib_month": 0.1}}}}, "t", "kubernetes")
    assert own.classes["a"].price.gib_month == 0.1


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_table(str(tmp_path / "none.yaml"), "local")
    (tmp_path / "t.yaml").write_text("[1, 2]")
    with pytest.raises(InvalidInput, match="are no table: it needs currency and classes"):
        load_table(str(tmp_path / "t.yaml"), "local")
