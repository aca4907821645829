"""Lists as the API server sends them."""

from typing import Generic, TypeVar

import msgspec

__all__ = ["ListMeta", "Page"]

T = TypeVar("T")


class ListMeta(
    msgspec.Struct, frozen=True, rename={"continue_": "continue", "resource_version": "resourceVersion"}
):
    """`metadata` of a list: where the next page begins ("" after the last), and the state it shows."""

    continue_: str = ""
    resource_version: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. The server may write an empty list as null."""

    metadata: ListMeta
    items: list[T] | None = None
