"""Records, and which of them are shown in which order: the table without its drawing.

Nothing is copied or formatted here. A filter is one byte a record, an order is a list of indexes; sort
values are computed once a column and kept until the records change, so that sorting 60,000 records
again costs a sort and filtering them costs the predicate.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import compress
from typing import Any, Generic, TypeVar

__all__ = ["Rows"]

T = TypeVar("T")


class Rows(Generic[T]):
    """``view`` is what is shown: indexes into ``records``, in order. Keys must be unique and steady."""

    def __init__(self, key: Callable[[T], Hashable]) -> None:
        self._key = key
        self.records: list[T] = []
        self.keys: list[Hashable] = []
        self.view: list[int] = []
        self._predicate: Callable[[T], bool] | None = None
        self._passes: bytearray | None = None
        """one byte a record; None: all pass"""
        self._by: tuple[str, Callable[[T], Any], bool] | None = None
        self._order: list[int] | None = None
        """all records in order; None: as they came"""
        self._values: dict[str, list[Any]] = {}
        self._ties: list[int] | None = None
        self._index: dict[Hashable, int] | None = None

    # ---- what there is
    def replace(self, records: Sequence[T]) -> None:
        """These and no others; a key that comes twice counts once, the later record in the first's place."""
        self.records, self.keys = list(records), [self._key(record) for record in records]
        if len(set(self.keys)) != len(self.keys):
            unique = dict(zip(self.keys, self.records, strict=True))
            self.keys, self.records = list(unique), list(unique.values())
        self._index = None
        self._forget()
        self._filter_all()
        self._sort_all()

    def extend(self, records: Iterable[T]) -> None:
        """More of them; one whose key is known takes the place of the old one."""
        index = self._indexes()
        touched: list[int] = []
        for record in records:
            key = self._key(record)
            at = index.get(key)
            if at is None:
                at = index[key] = len(self.records)
                self.records.append(record)
                self.keys.append(key)
                if self._passes is not None:
                    self._passes.append(0)
            else:
                self.records[at] = record
            touched.append(at)
        if self._passes is not None and self._predicate is not None:
            for at in touched:
                self._passes[at] = bool(self._predicate(self.records[at]))
        if self._by is not None:
            name, value, _ = self._by
            values = self._values.get(name)
            if values is not None:
                values.extend([None] * (len(self.records) - len(values)))
                for at in touched:
                    values[at] = _comparable(value(self.records[at]))
        kept = self._values.get(self._by[0]) if self._by is not None else None
        self._forget()
        if kept is not None and self._by is not None:
            self._values[self._by[0]] = kept
        self._sort_all()

    # ---- which, and in which order
    def filter(self, predicate: Callable[[T], bool] | None) -> None:
        self._predicate = predicate
        self._filter_all()
        self._show()

    def sort(self, name: str, value: Callable[[T], Any], reverse: bool) -> None:
        """By ``value``, None (and what is no number) last in both directions, ties by key."""
        self._by = (name, value, reverse)
        self._sort_all()

    def unsort(self) -> None:
        """As the records came."""
        self._by = None
        self._sort_all()

    def forget(self, name: str) -> None:
        """The sort values of this column are no longer true."""
        self._values.pop(name, None)
        if self._by is not None and self._by[0] == name:
            self._sort_all()

    # ---- where
    def place(self, key: Hashable) -> int | None:
        """The position in the view of the record with this key; None: not shown."""
        index = self._indexes().get(key)
        if index is None or (self._passes is not None and not self._passes[index]):
            return None
        return self.view.index(index)

    def find(self, key: Hashable) -> T | None:
        index = self._indexes().get(key)
        return None if index is None else self.records[index]

    def known(self, key: Hashable) -> bool:
        return key in self._indexes()

    # ---- inside
    def _indexes(self) -> dict[Hashable, int]:
        if self._index is None:
            self._index = {key: at for at, key in enumerate(self.keys)}
        return self._index

    def _forget(self) -> None:
        self._values.clear()
        self._ties = None

    def _filter_all(self) -> None:
        predicate = self._predicate
        if predicate is None:
            self._passes = None
        else:
            self._passes = bytearray(map(bool, map(predicate, self.records)))

    def _sort_all(self) -> None:
        if self._by is None:
            self._order = None
            self._show()
            return
        name, value, reverse = self._by
        values = self._values.get(name)
        if values is None:
            values = self._values[name] = [_comparable(value(record)) for record in self.records]
        if self._ties is None:
            self._ties = _sorted(list(range(len(self.keys))), self.keys, False)
        known = [at for at in self._ties if values[at] is not None]
        order = _sorted(known, values, reverse)
        if len(known) != len(values):
            order += [at for at in self._ties if values[at] is None]
        self._order = order
        self._show()

    def _show(self) -> None:
        passes, order = self._passes, self._order
        if order is None:
            every = range(len(self.records))
            self.view = list(every) if passes is None else list(compress(every, passes))
        else:
            self.view = order if passes is None else list(compress(order, map(passes.__getitem__, order)))


def _comparable(value: Any) -> Any:
    """NaN compares with nothing: the same as None."""
    return value if value == value else None


def _sorted(indexes: list[int], values: Sequence[Any], reverse: bool) -> list[int]:
    """A stable sort; values of different kinds, which do not compare, are put in order by kind and text."""
    try:
        indexes.sort(key=values.__getitem__, reverse=reverse)
    except TypeError:
        indexes.sort(key=lambda at: (type(values[at]).__name__, str(values[at])), reverse=reverse)
    return indexes
