"""What all kinds share: names of the API, field types with their rules, metadata and conditions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictInt,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from berth.kinds.entry import MAX_NAME, MAX_TERM, NAME_PATTERN, is_name

GROUP = "berth.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
PLURALS = {"Item": "items", "Member": "members", "Assignment": "assignments", "Pool": "pools"}

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """A CEL rule that the API server checks on a field (`self`) or on its change (`oldSelf`)."""

    rule: str
    message: str
    field: str | None = None
    """The field below that the error names, like `.spec.term`; by default the one that has the rule."""
    accepts: Callable[[str], bool] | None = None
    """The same rule in Python, by which the models check a string; None: only the API server checks it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if self.accepts is None:
            return schema
        return core_schema.no_info_after_validator_function(self._check, schema)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        result = handler(schema)
        result.setdefault(VALIDATIONS, []).append(self.manifest())
        return result

    def manifest(self) -> dict[str, str]:
        """The rule as a CRD holds it."""
        path = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, **path, "message": self.message}

    def _check(self, value: str) -> str:
        if self.accepts is not None and not self.accepts(value):
            raise ValueError(self.message)
        return value


def matches(pattern: str, message: str) -> Rule:
    """The rule that a string matches `pattern`: the error of a plain `pattern` would only quote it."""
    expression = re.compile(pattern, re.ASCII)
    # "$" of Python, unlike that of CEL, also matches before a last line break; `fullmatch` refuses that.
    return Rule(
        f"self.matches(r'{pattern}')", message, accepts=lambda value: bool(expression.fullmatch(value))
    )


def max_bytes(count: int) -> Rule:
    """The maximum size of a string in UTF-8 bytes: `maxLength` counts characters."""
    return Rule(
        f"size(bytes(self)) <= {count}",
        f"must have {count} bytes or fewer in UTF-8",
        accepts=lambda value: len(value.encode(errors="surrogatepass")) <= count,
    )


DNS_LABEL = matches(
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    "must be a DNS label: lower case letters, digits and '-', beginning and ending with a letter or a digit",
)
DNS_SUBDOMAIN = matches(
    NAME_PATTERN,
    "must be a Kubernetes object name: lower case letters, digits, '-' and '.', "
    "each part beginning and ending with a letter or a digit",
)
LABEL_VALUE = matches(
    "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    "must be empty or a label value: letters, digits, '-', '_' and '.', "
    "beginning and ending with a letter or a digit",
)

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _time(value: Any) -> Any:
    """A time in the format that the API server accepts, in UTC."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # a 30th of February; a first day that is in the year 0 in UTC
        pass
    raise ValueError("must be an RFC 3339 time, such as 2026-01-31T12:00:00Z")


Time = Annotated[datetime, BeforeValidator(_time)]
PoolName = Annotated[str, Field(max_length=63), DNS_LABEL]
ObjectName = Annotated[str, Field(max_length=MAX_NAME)]
Term = Annotated[StrictInt, Field(ge=1, le=MAX_TERM)]
Count = Annotated[StrictInt, Field(ge=0)]
Percent = Annotated[StrictInt, Field(ge=0, le=100)]

UNCHANGEABLE_POOL = Rule(
    "self == oldSelf",
    "the pool cannot be changed: delete the object and create it in the other pool",
)


class Shape(BaseModel):
    """Base of everything below: camelCase on the wire, snake_case in Python, immutable.

    Unknown fields are refused, as `kubectl apply` refuses them, so that misspelt names are found.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )


class Observed(Shape):
    """Base of every status: fields that a newer version added are ignored."""

    model_config = ConfigDict(extra="ignore")


class Owner(Shape):
    """One entry of `metadata.ownerReferences`."""

    model_config = ConfigDict(extra="allow")

    api_version: str
    kind: str
    name: str
    uid: str


class ObjectMeta(Shape):
    """The part of `metadata` that Berth reads; the rest is kept unchanged."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None


class Condition(Observed):
    """One aspect of the state, as Kubernetes writes conditions."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """The type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds: True, False or Unknown."""
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    """The reason for the status, as one word for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """The reason for the status, in human-readable form."""
    last_transition_time: Time
    """When the status last changed."""
    observed_generation: Count | None = None
    """The generation of the object that the condition describes."""


_MAPPED_BY_TYPE: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
Conditions = Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=_MAPPED_BY_TYPE)]


def atomic(max_length: int) -> Any:
    """The annotation of a list that is always replaced as a whole."""
    return Field(max_length=max_length, json_schema_extra={"x-kubernetes-list-type": "atomic"})


def column(
    name: str, path: str, type: str = "string", description: str = "", *, wide: bool = False
) -> dict[str, Any]:
    """A column of `kubectl get`, as a CRD holds it; `type` is string, integer, date or boolean."""
    described = {"description": description} if description else {}
    return {"name": name, "type": type, "jsonPath": path, **described, **({"priority": 1} if wide else {})}


def condition_column(type_: str, description: str) -> dict[str, Any]:
    """The column that shows the status of the condition `type_`."""
    return column(type_, f'.status.conditions[?(@.type=="{type_}")].status', description=description)


AGE = column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True)
class Kind:
    """What a CRD declares about a kind, besides its schema."""

    name: str
    short_names: tuple[str, ...]
    columns: tuple[dict[str, Any], ...]
    scale: dict[str, str] | None = None
    rules: tuple[Rule, ...] = ()
    """Rules over the whole object."""

    @property
    def plural(self) -> str:
        """The name in URLs and on the command line."""
        return PLURALS[self.name]


class Resource(Shape):
    """Base of the four kinds."""

    about: ClassVar[Kind]

    api_version: Literal["berth.dev/v1alpha1"] = "berth.dev/v1alpha1"
    kind: str
    metadata: ObjectMeta = ObjectMeta()

    @model_validator(mode="after")
    def _has_a_usable_name(self) -> Self:
        # An object that was not named yet (generateName, a test) has the name "".
        name = self.metadata.name
        if name and not is_name(name):
            raise ValueError(
                f"metadata.name {name[:300]!r} {DNS_SUBDOMAIN.message}, {MAX_NAME} characters at most"
            )
        return self
