"""The deployment's storage classes with their prices: a YAML file, which names products or says all itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from learnloop.errors import InvalidInput
from learnloop.jobs.mount import Access
from learnloop.jobs.quantities import Quantity
from learnloop.jobs.spec import problems_of
from learnloop.mounts.providers import How, Provider, provider

if TYPE_CHECKING:
    from learnloop.settings import Settings

PRODUCTS = Path(__file__).with_name("products.yaml")
HERE: dict[str, Any] = {
    "currency": "USD",
    "classes": {
        "disk": {
            "provider": "local_disk",
            "price": {"gib_month": 0},
            "access": ["read_only", "read_write", "read_only_many", "read_write_many"],
            "durable": True,
            "latency_ms": 1,
            "iops": 3000,
            "mib_per_s": 125,
            "source": "this machine's own disk, which has been paid for",
        }
    },
}
"""What one machine has when nobody says otherwise: its disk, where results and models are too."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Part):
    """In the table's currency: a GiB for a month, a GiB read or written, a thousand requests.

    ``minimum_days``: what is deleted sooner is paid for as long.
    """

    gib_month: float = Field(ge=0)
    read_gib: float = Field(default=0, ge=0)
    write_gib: float = Field(default=0, ge=0)
    put_1000: float = Field(default=0, ge=0)
    get_1000: float = Field(default=0, ge=0)
    minimum_days: float = Field(default=0, ge=0)


class StorageClass(_Part):
    """What mounts may be put into.

    Args:
        storage_class: the cluster's StorageClass.
        url: where mounts of S3 are kept, such as ``s3://bucket/mounts``.
        smallest: a mount is at least so large, and paid for as such; ``largest``: at most so large.
        pool_minimum: mounts of this class lie in one place, of which so much is paid for as soon as there is one.
        capacity: how much mounts of one plan may take of it together.
        mib_per_s_per_tib: a volume's throughput grows with it, up to ``mib_per_s``.
        access, durable: in place of the provider's.
        as_of, source: when and where price and figures were read.
    """

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    provider: str
    price: Price
    product: str | None = None
    storage_class: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
    url: str | None = Field(default=None, pattern=r"^[a-z0-9]+://[^\s@]+$")
    smallest: Quantity = "1"
    largest: Quantity | None = None
    pool_minimum: Quantity | None = None
    capacity: Quantity | None = None
    latency_ms: float = Field(gt=0)
    iops: float = Field(ge=0)
    mib_per_s: float = Field(gt=0)
    mib_per_s_per_tib: float | None = Field(default=None, gt=0)
    access: tuple[Access, ...] | None = None
    durable: bool | None = None
    as_of: str = ""
    source: str = ""

    @field_validator("provider")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            provider(name)
        except InvalidInput as error:
            raise ValueError(str(error)) from error
        return name

    @model_validator(mode="after")
    def _addressed(self) -> StorageClass:
        ways = self.kind.addressed
        given = [name for name in ("storage_class", "url") if getattr(self, name)]
        wrong = [name for name in given if name not in ways]
        if wrong:
            raise ValueError(f"{self.provider} takes no {wrong[0]}")
        if len(given) > 1:
            raise ValueError("give storage_class or url, not both")
        return self

    @property
    def kind(self) -> Provider:
        return provider(self.provider)

    @property
    def how(self) -> How:
        """How a mount of it is realised on a cluster."""
        return "claim" if self.storage_class else self.kind.how

    @property
    def modes(self) -> frozenset[str]:
        return self.kind.access if self.access is None else frozenset(self.access)

    @property
    def lasts(self) -> bool:
        return self.kind.durable if self.durable is None else self.durable


class Table(_Part):
    """``classes`` by name."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    classes: dict[str, StorageClass] = Field(min_length=1)


def table_of(settings: Settings) -> Table:
    """The storage classes of a deployment; errors as of `load_table`."""
    return load_table(settings.storage_classes, "kubernetes" if settings.job_runner == "kubernetes" else "local")


def load_table(path: str, runner: Literal["local", "kubernetes"]) -> Table:
    """The table in the YAML file ``path``; without one, on one machine, its disk.

    Raises:
        InvalidInput: there is none, it cannot be read, or it is wrong: one problem for each field.
    """
    import yaml

    if not path and runner == "local":
        return parse_table(HERE, "the disk of this machine", runner)
    if not path:
        raise InvalidInput(
            "a job asks for mounts, but LEARNLOOP_STORAGE_CLASSES names no table of what there is;"
            " begin with deploy/kubernetes/storage-classes.yaml"
        )
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidInput(
            f"the storage classes in {path} (LEARNLOOP_STORAGE_CLASSES) cannot be read: {error}"
        ) from error
    return parse_table(given, path, runner)


def parse_table(given: Any, where: str, runner: Literal["local", "kubernetes"]) -> Table:
    """A table from YAML-like data, each class filled up from its product."""
    if not isinstance(given, dict) or not isinstance(given.get("classes"), dict):
        raise InvalidInput(f"the storage classes in {where} are no table: it needs currency and classes")
    sold = products()
    filled: dict[str, Any] = {}
    problems = []
    for name, fields in given["classes"].items():
        if not isinstance(fields, dict):
            problems.append(f"classes.{name}: it is no mapping of fields")
            continue
        product = fields.get("product")
        if product is not None and product not in sold["products"]:
            problems.append(f"classes.{name}.product: there is no {product!r}; there are {', '.join(sold['products'])}")
            continue
        if product is not None and given.get("currency") != sold["currency"] and "price" not in fields:
            problems.append(f"classes.{name}.price: {product} is priced in {sold['currency']}; say your price")
        filled[str(name)] = {**sold["products"].get(product, {}), **fields, "name": str(name)}
    try:
        table = Table.model_validate({**given, "classes": filled})
    except ValidationError as error:
        problems += problems_of(error, "the table")
    if not problems:
        problems += [
            f"classes.{one.name}: say how it is reached: {' or '.join(one.kind.addressed)}"
            for one in table.classes.values()
            if one.kind.addressed
            and not (one.storage_class or one.url)
            and (runner == "kubernetes" or one.how == "staged")
        ]
    if problems:
        raise InvalidInput(f"the storage classes in {where} are not valid", problems)
    return table


@cache
def products() -> dict[str, Any]:
    """What is sold, as `PRODUCTS` has it."""
    import yaml

    return dict(yaml.safe_load(PRODUCTS.read_text(encoding="utf-8")))
