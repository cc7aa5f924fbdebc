"""What it means for a row to be a tenant's: it carries `biller_id`, and every statement about it names that first.

The shape (a single UUIDv7 key, composite references over `(biller_id, …)`, updates that filter by the biller and never
set it) makes a cross-tenant child impossible today and lets the tables be distributed by `biller_id` later.
"""

from typing import Any, Self

from django.db import connections, models
from django.db.models import sql
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from core.ids import decode
from core.text import REFERENCE_LENGTH


class TenantReference(ForwardManyToOneDescriptor):
    """The parent object; setting it sets the parent's id and leaves the row's own biller alone."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        if value is None:
            setattr(instance, self.field.id_name, None)
            self.field.set_cached_value(instance, None)
        else:
            super().__set__(instance, value)


class TenantForeignKey(models.ForeignObject):
    """A parent of the same biller, joined on `(biller_id, <name>_id)`; the key itself is SQL in a migration."""

    forward_related_accessor_class = TenantReference

    def __init__(self, to: Any, id_name: str, **options: Any) -> None:
        self.id_name = id_name
        options.setdefault("on_delete", models.PROTECT)
        options.update(from_fields=["biller", id_name], to_fields=["biller", "id"])
        super().__init__(to, **options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        del options["from_fields"], options["to_fields"]
        return name, path, args, options | {"id_name": self.id_name}


class TenantQuerySet(models.QuerySet[Any]):
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

    def _do_update(  # type: ignore[override] # the stubs describe Django 6
        self, base_qs: Any, using: Any, pk_val: Any, values: Any, update_fields: Any, forced_update: bool
    ) -> bool:
        """Update this row within its biller, and read back what the database decided."""
        query = base_qs.filter(pk=pk_val, biller_id=self.biller_id).query.chain(sql.UpdateQuery)
        query.add_update_fields([value for value in values if value[0].attname != "biller_id"])
        statement, parameters = query.get_compiler(using).as_sql()
        if not statement:
            return base_qs.filter(pk=pk_val, biller_id=self.biller_id).exists()
        columns = self.decided_by_database or ("biller_id",)
        quote = connections[using].ops.quote_name
        with connections[using].cursor() as cursor:
            cursor.execute(f"{statement} RETURNING {', '.join(map(quote, columns))}", parameters)
            row = cursor.fetchone()
        if row is None:
            return False
        for name, value in zip(self.decided_by_database, row, strict=False):
            setattr(self, name, value)
        return True


class RecordQuerySet(TenantQuerySet):
    """The words customers, accounts and bills share: each is known by our id or by the biller's reference."""

    def named(self, key: str) -> Self:
        """Return the row that `key` names, an id before a reference (so at most two rows, the id's first)."""
        prefix = self.model._meta.pk.prefix
        if decode(prefix, key) is None:
            return self.filter(external_reference=key)
        is_id = models.Case(models.When(pk=key, then=0), default=1)
        return self.filter(models.Q(pk=key) | models.Q(external_reference=key)).order_by(is_id)

    def locked(self) -> Self:
        """Lock the rows until COMMIT, in the order of their ids, without hindering inserts that point at them."""
        return self.select_for_update(no_key=True, of=("self",))


class Record(Tenanted):
    """What customers, accounts and bills have in common."""

    external_reference = models.CharField(
        max_length=REFERENCE_LENGTH, help_text="The biller's own name for the record; unique, never changed."
    )
    payment_rules = models.JSONField(
        default=dict,
        blank=True,
        help_text="Overrides: min_amount, max_amount, underpayment_allowed, overpayment_allowed.",
    )
    metadata = models.JSONField(default=dict, blank=True, help_text="At most 10 keys, text to text.")
    version = models.BigIntegerField(default=1, editable=False, help_text="Counts the changes: the ETag.")
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    updated_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    decided_by_database: tuple[str, ...] = ("version", "updated_at")

    objects = RecordQuerySet.as_manager()  # type: ignore[misc]

    class Meta(Tenanted.Meta):
        abstract = True

    def __str__(self) -> str:
        return self.external_reference
