"""Customers, accounts, bills and payments as the contract tells of them, in plain Python."""

from collections import defaultdict

MOST = 999_999_999_999
KINDS = {"C": "customer", "A": "account", "B": "bill"}
NEW_BILLER = {"min_amount": None, "max_amount": None, "underpayment_allowed": True, "overpayment_allowed": False}
UNTRACKED = {"name": None, "currency": None, "balance": None}
UNPAID = {"amount_paid": 0, "description": None, "due_date": None}


class Refused(Exception):  # noqa: N818 an answer, not an error
    """What the model says no with: the status, and the codes of which the answer must lead with one."""

    def __init__(self, status, *codes):
        super().__init__(status, codes)
        self.status, self.codes = status, codes


class Book:
    """What one biller has on record. Records go by their references, whose first letter is their kind."""

    def __init__(self):
        self.rows = {"C": {}, "A": {}, "B": {}}
        self.ledger = defaultdict(list)
        self.events = []
        self.payments = {}

    def __getitem__(self, name):
        return self.rows[name[0]][name]

    def __contains__(self, name):
        return name in self.rows[name[0]]

    # --- Records ---

    def create(self, name, fields, **owner):
        if name in self:
            raise Refused(409, "external_reference_taken")
        row = {**(UNPAID if name[0] == "B" else UNTRACKED), "void": False, **fields, **owner}
        for merged in ("metadata", "payment_rules"):
            row[merged] = kept(row.get(merged, {}))
        self.rows[name[0]][name] = row
        if self.amount(name):
            self.ledger[name].append(("opening", self.amount(name)))
        self.events.append((name, "created"))
        self.judge(name)
        return True

    def judge(self, name):
        row = self[name]
        if name[0] != "B" and row["balance"] is not None and row["currency"] is None:
            raise Refused(422, f"{KINDS[name[0]]}_balance_needs_currency")

    def change(self, name, changes):
        """Apply what a PATCH says; return whether that changes anything."""
        row, one = self[name], KINDS[name[0]]
        merged = {key: kept({**row[key], **changes.get(key, {})}) for key in ("metadata", "payment_rules")}
        changed = {key: value for key, value in {**changes, **merged}.items() if row[key] != value}
        if not changed:
            return False
        if row["void"] and set(changed) - {"metadata"}:
            raise Refused(409, "bill_voided")
        broken = []
        if "currency" in changed and row.get("balance"):
            broken.append(f"{one}_currency_fixed_by_balance")
        if "currency" in changed and self.taken(name):
            broken.append(f"{one}_currency_fixed_by_payments")
        if "balance" in changed and changed["balance"] is None and row["balance"]:
            broken.append(f"{one}_balance_not_zero")
        if "amount_paid" in changed and changed["amount_paid"] < self.taken(name):
            broken.append("amount_paid_below_payments")
        if broken:
            raise Refused(422, *broken)
        was, before = self.status(name), self.amount(name)
        row.update(changed)
        self.judge(name)
        if self.amount(name) != before:
            self.ledger[name].append(("adjustment", self.amount(name) - before))
        self.events.append((name, "updated"))
        if self.status(name) == "PAID" != was:
            self.events.append((name, "paid"))
        return True

    def settle(self, name, fields, **owner):
        """Create or update; return whether it is new."""
        if name not in self:
            return self.create(name, fields, **owner)
        self.change(name, fields)
        return False

    def void(self, name):
        if self[name]["void"]:
            raise Refused(409, "bill_voided")
        if self[name]["amount_paid"]:
            raise Refused(409, "bill_has_payments")
        self[name]["void"] = True
        self.events.append((name, "voided"))

    def amount(self, name):
        return self[name]["amount_paid" if name[0] == "B" else "balance"] or 0

    def status(self, name):
        if name[0] != "B":
            return None
        if self[name]["void"]:
            return "VOIDED"
        return "PAID" if self[name]["amount_paid"] >= self[name]["amount_due"] else "UNPAID"

    def taken(self, name):
        """Return what has been paid on a record and not been reversed."""
        return abs(sum(change for why, change in self.ledger[name] if why in ("payment", "reversal")))

    def rules(self, name):
        """Return the payment rules in force: the record's, its account's, its customer's, then the biller's."""
        row, rules = self[name], dict(NEW_BILLER)
        layers = [name, *filter(None, (row.get("account"), row.get("customer")))]
        for layer in map(self.__getitem__, reversed(layers)):
            foreign = row["currency"] is not None and layer["currency"] not in (None, row["currency"])
            of_amounts = {"min_amount", "max_amount"} if foreign else set()
            rules |= {key: rule for key, rule in layer["payment_rules"].items() if key not in of_amounts}
        return rules

    # --- Payments ---

    def owed(self, name):
        row = self[name]
        return row["amount_due"] - row["amount_paid"] if name[0] == "B" else row["balance"]

    def unpaid(self, payer):
        """Return the unpaid bills of a customer, its accounts' among them, or of an account; oldest first."""
        owner = KINDS[payer[0]]
        bills = [name for name, row in self.rows["B"].items() if row[owner] == payer and self.status(name) == "UNPAID"]
        return sorted(bills, key=lambda name: self[name]["due_date"] or "9999")

    def pay(self, taker, reference, said):
        """Take a payment; return whether it is new."""
        if (taker, reference) in self.payments:
            known = self.payments[taker, reference]
            if known is None:
                raise Refused(409, "payment_reversed")
            if known["said"] != said:
                raise Refused(409, "reference_reused")
            return False
        shares, remaining = self.oldest_first(said) if "payer" in said else self.listed(said)
        self.payments[taker, reference] = {
            "said": said,
            "shares": [(name, amount, max(self.owed(name) - amount, 0)) for name, amount in shares],
            "remaining": remaining,
            "reversed": False,
        }
        for name, amount in shares:
            self.post(name, "payment", amount)
            self.events.append((name, "amount_applied"))
            if self.status(name) == "PAID":
                self.events.append((name, "paid"))
        return True

    def post(self, name, why, paid):
        change = paid if name[0] == "B" else -paid
        total = self.amount(name) + change
        if abs(total) > MOST:
            raise Refused(422, f"{KINDS[name[0]]}_balance_in_range")
        self[name]["amount_paid" if name[0] == "B" else "balance"] = total
        self.ledger[name].append((why, change))

    def listed(self, said):
        """Return what a payment pays that names its obligations, and what then remains of them."""
        shares = said["allocations"] if "allocations" in said else [(said["obligation"], said["amount"])]
        names = [name for name, _ in shares]
        if sum(amount for _, amount in shares) != said["amount"] or len(set(names)) < len(names):
            raise Refused(422, "allocation_mismatch")
        if any(name not in self for name in names):
            raise Refused(404, "obligation_not_found")
        settled, broken = [], []
        for name, amount in shares:
            owed = self.owed(name)
            if self[name]["void"]:
                settled.append("bill_voided")
            elif owed is None:
                broken.append("obligation_not_payable")
            elif self[name]["currency"] != said["currency"]:
                broken.append("currency_mismatch")
            elif owed <= 0:
                settled.append("obligation_settled")
            else:
                rules = self.rules(name)
                broken += outside(amount, rules) or self.not_in_full(name, amount, rules)
        if settled or broken:
            raise Refused(409 if settled else 422, *(settled or broken))
        return shares, sum(max(self.owed(name) - amount, 0) for name, amount in shares)

    def not_in_full(self, name, amount, rules):
        owed = self.owed(name)
        if amount < owed and not rules["underpayment_allowed"]:
            return ["underpayment_not_allowed"]
        if amount > owed and not rules["overpayment_allowed"]:
            return ["overpayment_not_allowed"]
        return ["amount_above_maximum"] if amount > self.room(name) else []

    def room(self, name):
        return MOST - self.amount(name) if name[0] == "B" else MOST + self.amount(name)

    def oldest_first(self, said):
        """Return what a payment of a payer's bills pays, and what then remains of them all."""
        payer, left, shares = said["payer"], said["amount"], []
        if payer not in self:
            raise Refused(404, "payer_not_found")
        bills = [name for name in self.unpaid(payer) if self[name]["currency"] == said["currency"]]
        for name in bills:
            if left:
                shares.append((name, min(left, self.owed(name))))
                left -= shares[-1][1]
        broken = outside(said["amount"], self.rules(payer))
        for name, amount in shares:
            broken += self.not_in_full(name, amount, self.rules(name))
        remaining = sum(map(self.owed, bills)) - (said["amount"] - left)
        if left:
            takes = self[payer]["balance"] is not None and self[payer]["currency"] == said["currency"]
            if not (shares or takes):
                raise Refused(409, "obligation_settled")
            if not (takes and self.rules(payer)["overpayment_allowed"]):
                broken.append("overpayment_not_allowed")
            elif left > self.room(payer):
                broken.append("amount_above_maximum")
            shares.append((payer, left))
        if broken:
            raise Refused(422, *broken)
        return shares, remaining

    def undo(self, taker, reference):
        """Reverse a payment; return whether that is new. A partner's may come before its payment."""
        if (taker, reference) not in self.payments:
            if taker == "biller":
                raise Refused(404, "payment_not_found")
            self.payments[taker, reference] = None
            return True
        payment = self.payments[taker, reference]
        if payment is None or payment["reversed"]:
            return False
        payment["reversed"] = True
        for name, amount, _ in payment["shares"]:
            self.post(name, "reversal", -amount)
        self.events.append((reference, "reversed"))
        return True


def kept(fields):
    return {key: value for key, value in fields.items() if value is not None}


def outside(amount, rules):
    """Return what the least and the largest amount say of an amount."""
    if rules["min_amount"] is not None and amount < rules["min_amount"]:
        return ["amount_below_minimum"]
    if rules["max_amount"] is not None and amount > rules["max_amount"]:
        return ["amount_above_maximum"]
    return []
