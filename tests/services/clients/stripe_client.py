"""Stripe's own client against what speaks like Stripe: BASE KEY. Prints one JSON object of what it saw."""

import json
import sys

import stripe

base, key = sys.argv[1:]


def client(secret: str) -> stripe.StripeClient:
    return stripe.StripeClient(secret, base_addresses={"api": base}, max_network_retries=0)


def code(call) -> str:
    """The class and the code of the error that a call ends with."""
    try:
        call()
    except stripe.StripeError as error:
        return f"{type(error).__name__} {error.http_status} {error.code or ''}".strip()
    return "no error"


own = client(key)
refund = {"charge": "ch_1", "amount": 100, "metadata": {"by": "client"}}
first = own.v1.refunds.create(refund, {"idempotency_key": "k-1"})
again = own.v1.refunds.create(refund, {"idempotency_key": "k-1"})
print(
    json.dumps(
        {
            "read": own.v1.charges.retrieve("ch_1").amount,
            "wrote": first.status,
            "replayed": first.id == again.id,
            "refunded": own.v1.charges.retrieve("ch_1").amount_refunded,
            "found": [one.metadata["by"] for one in own.v1.refunds.list({"charge": "ch_1"}).data],
            "changed": own.v1.customers.update("cus_1", {"description": "by client"}).description,
            "conflict": code(lambda: own.v1.refunds.create({**refund, "amount": 200}, {"idempotency_key": "k-1"})),
            "over": code(lambda: own.v1.refunds.create({**refund, "amount": 999_999})),
            "missing": code(lambda: own.v1.charges.retrieve("ch_none")),
            "stranger": code(lambda: client("sk_test_other").v1.charges.retrieve("ch_1")),
            "limited": code(lambda: client("sk_test_limited").v1.charges.retrieve("ch_1")),
        }
    )
)
