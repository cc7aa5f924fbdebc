"""What it means for a row to be a tenant's: it carries `biller_id`, and every statement about it names that first.

The shape (a single UUIDv7 key, composite references over `(biller_id, …)`, updates that filter by the biller and never
set it) makes a cross-tenant child impossible today and lets the tables be distributed by `biller_id` later.
"""

from collections.abc import Container
from functools import cache
from typing import Any, Self, TypeVar

from django.db import connections, models
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.db.models.sql.datastructures import Join

from core.documents import DocumentField
from core.ids import decode, new_id
from core.refusals import Stale, absent
from core.statements import Prepared, Row, insert, update_sql
from core.text import REFERENCE_LENGTH, is_reference


class TenantReference(ForwardManyToOneDescriptor):
    """The parent object; setting it sets the parent's id and leaves the row's own biller alone."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        if value is None:
            setattr(instance, self.field.id_name, None)
            self.field.set_cached_value(instance, None)
        else:
            super().__set__(instance, value)


class TenantForeignKey(models.ForeignObject):
    """A parent of the same biller, joined on `(biller_id, <name>_id)`; the key itself is SQL in a migration.

    `key` is what the parent is known by where that is not its id.
    """

    forward_related_accessor_class = TenantReference

    def __init__(self, to: Any, id_name: str, key: str = "id", **options: Any) -> None:
        self.id_name = id_name
        self.key = key
        options.setdefault("on_delete", models.PROTECT)
        options.update(from_fields=["biller", id_name], to_fields=["biller", key])
        super().__init__(to, **options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        del options["from_fields"], options["to_fields"]
        known = {} if self.key == "id" else {"key": self.key}
        return name, path, args, options | {"id_name": self.id_name, **known}


class ParentByKey(Join):
    """A parent looked up by its key for each row that needs it, whatever the planner believes of the tables.

    Statistics know nothing of a biller that came after them. The planner then takes it for a biller of one row, and
    joins a page of bills by reading all its accounts for each of them. OFFSET 0 keeps it from that choice.
    """

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        name = compiler.quote_name_unless_alias
        table, parent, own = name(self.table_name), name(self.parent_alias), name(self.table_alias)
        quoted = [(connection.ops.quote_name(child), connection.ops.quote_name(key)) for child, key in self.join_cols]
        same = " AND ".join(f"{table}.{key} = {parent}.{child}" for child, key in quoted)
        return f"{self.join_type} LATERAL (SELECT * FROM {table} WHERE {same} OFFSET 0) {own} ON (true)", ()  # noqa: S608


class ExistsByKey(models.Exists):
    """Whether there is such a row, looked up for each row that is walked: as with `ParentByKey`, never joined."""

    template = "EXISTS(%(subquery)s OFFSET 0)"


Row_co = TypeVar("Row_co", bound=models.Model, covariant=True)


class PagedQuerySet(models.QuerySet[Row_co]):
    """The words of rows that are read page by page."""

    def with_parents(self) -> Self:
        """Read the parents named from here on by their keys: for pages, never for conditions on a parent."""
        rows = self.all()
        rows.query.join_class = ParentByKey
        return rows


class TenantQuerySet(PagedQuerySet[Any]):
    """The words every tenant's table knows."""

    def for_biller(self, biller: Any) -> Self:
        """Return the rows of this biller (a Biller or its id)."""
        return self.filter(biller_id=getattr(biller, "pk", biller))


class Tenanted(models.Model):
    """A row of one biller's."""

    # The key to the biller is held by the customer at the root; below it the composite keys imply it, and a lock on the
    # biller's row for every insert would be paid for nothing.
    biller = models.ForeignKey(
        "billers.Biller", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )

    decided_by_database: tuple[str, ...] = ()
    """The columns that an UPDATE changes by itself, read back with it."""

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True

    def _do_insert(self, manager: Any, using: Any, fields: Any, returning_fields: Any, raw: bool) -> list[Any]:
        return insert([self], [field.column for field in returning_fields])

    def _do_update(  # type: ignore[override] # the stubs describe Django 6
        self, base_qs: Any, using: Any, pk_val: Any, values: Any, update_fields: Any, forced_update: bool
    ) -> bool:
        """Update this row within its biller, and read back what the database decided."""
        changed = [(field, value) for field, _, value in values if field.attname != "biller_id"]
        columns = tuple(field.column for field, _ in changed)
        statement = update_sql(type(self), columns, self.decided_by_database or ("biller_id",))
        connection = connections[using]
        parameters = [field.get_db_prep_save(value, connection) for field, value in changed]
        key: list[Any] = [self._meta.get_field(name) for name in ("biller", "id")]
        parameters += [field.get_db_prep_value(getattr(self, field.attname), connection) for field in key]
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            row = cursor.fetchone()
        if row is None:
            return False
        for name, value in zip(self.decided_by_database, row, strict=False):
            setattr(self, name, value)
        return True


Versions = Container[int] | None
"""The versions a caller's change is meant for; None when it does not care."""


class NamedQuerySet(TenantQuerySet):
    """The words of rows that a path can name: by our id."""

    def named(self, key: str) -> Self:
        """Return the row that `key` names."""
        return self.filter(pk=key)

    def nameable(self, key: str) -> bool:
        """Tell whether `key` could name a row at all."""
        return self._is_id(key)

    def values_of(self, biller_id: str, key: str, columns: tuple[str, ...]) -> list[Row]:
        """Return these columns of what a biller's `key` names, by a statement composed once."""
        model: Any = self.model
        return _reading(model, columns, by_id=self._is_id(key)).rows(biller_id, key)

    def hold(self, biller_id: str, key: str) -> Any:
        """Lock and return what a biller's `key` names, or None, by a statement composed once."""
        model: Any = self.model
        return next(iter(_holding(model, by_id=self._is_id(key)).objects(biller_id, key)), None)

    def held(self, act: Any, key: str, versions: Versions = None) -> Any:
        """Lock the row that `key` names.

        Raises:
            Missing: this biller has none.
            Stale: it is not at this version any more.
        """
        return self.required(self.hold(act.biller.pk, key), key, versions)

    def required(self, record: Any, key: str, versions: Versions = None) -> Any:
        """Return the record, or refuse because it is absent or at another version."""
        if record is None:
            raise absent(self.model, key)
        if versions is not None and record.version not in versions:
            raise Stale.because("stale", f"The {self.model._meta.verbose_name} is at version {record.version} by now.")
        return record

    def _is_id(self, key: str) -> bool:
        return decode(_prefix(self.model), key) is not None

    def locked(self) -> Self:
        """Lock the rows until COMMIT, in the order of their ids, without hindering inserts that point at them."""
        return self.select_for_update(no_key=True, of=("self",))


class RecordQuerySet(NamedQuerySet):
    """The words customers, accounts and bills share: each is known by our id or by the biller's reference."""

    def named(self, key: str) -> Self:
        """Return the row that `key` names, an id before a reference (so at most two rows, the id's first)."""
        if not self._is_id(key):
            return self.filter(external_reference=key)
        is_id = models.Case(models.When(pk=key, then=0), default=1)
        return self.filter(models.Q(pk=key) | models.Q(external_reference=key)).order_by(is_id)

    def nameable(self, key: str) -> bool:
        return is_reference(key)


def _prefix(model: Any) -> str:
    prefix: str = model._meta.pk.prefix
    return prefix


def _samples(model: Any, *, by_id: bool) -> tuple[str, str]:
    return new_id("blr"), new_id(_prefix(model) if by_id else "sample")


@cache
def _reading(model: Any, columns: tuple[str, ...], *, by_id: bool) -> Prepared:
    rows = model._default_manager
    return Prepared(
        lambda biller_id, key: rows.for_biller(biller_id).named(key).with_parents().values(*columns)[:1],
        *_samples(model, by_id=by_id),
    )


@cache
def _holding(model: Any, *, by_id: bool) -> Prepared:
    rows = model._default_manager
    return Prepared(
        lambda biller_id, key: rows.for_biller(biller_id).named(key).with_parents().locked()[:1],
        *_samples(model, by_id=by_id),
    )


class Record(Tenanted):
    """What customers, accounts and bills have in common."""

    external_reference = models.CharField(
        max_length=REFERENCE_LENGTH, help_text="The biller's own name for the record; unique, never changed."
    )
    payment_rules = DocumentField(
        default=dict,
        blank=True,
        help_text="Overrides: min_amount, max_amount, underpayment_allowed, overpayment_allowed.",
    )
    metadata = DocumentField(default=dict, blank=True, help_text="At most 10 keys, text to text.")
    version = models.BigIntegerField(db_default=1, editable=False, help_text="Counts the changes: the ETag.")
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    updated_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    decided_by_database: tuple[str, ...] = ("version", "updated_at")

    objects = RecordQuerySet.as_manager()  # type: ignore[misc]

    class Meta(Tenanted.Meta):
        abstract = True

    def __str__(self) -> str:
        return self.external_reference
