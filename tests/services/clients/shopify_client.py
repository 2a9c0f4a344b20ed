"""Shopify's own client against what speaks like Shopify: BASE TOKEN. Prints one JSON object of what it saw."""

import json
import sys
import urllib.error

import shopify

base, token = sys.argv[1:]


def ask(query: str, secret: str = token, **variables) -> dict:
    shopify.ShopifyResource.site = f"{base}/admin/api/2026-10"
    shopify.ShopifyResource.headers = {"X-Shopify-Access-Token": secret}
    return json.loads(shopify.GraphQL().execute(query, variables=variables))


REFUND = """mutation($input: RefundInput!, $key: String!) { refundCreate(input: $input) %s {
  refund { id totalRefundedSet { shopMoney { amount } } } userErrors { field message } } }"""
SET = """mutation($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) { metafields { value } userErrors { code } } }"""


def refund(amount: str, key: str, directive: str = "@idempotent(key: $key)") -> dict:
    order = "gid://shopify/Order/1001"
    transaction = {"orderId": order, "parentId": "gid://shopify/OrderTransaction/7", "kind": "REFUND", "gateway": "bogus", "amount": amount}
    query = REFUND % directive
    return ask(query if directive else query.replace(", $key: String!", ""), input={"orderId": order, "note": "by client", "transactions": [transaction]}, key=key)


def metafield(digest: str) -> dict:
    one = {"ownerId": "gid://shopify/Order/1001", "namespace": "writ", "key": "status", "type": "single_line_text_field", "value": "seen", "compareDigest": digest}
    return ask(SET, m=[one])["data"]["metafieldsSet"]


def stranger() -> int:
    try:
        ask("query { shop { id } }", secret="shpat_other")
    except urllib.error.HTTPError as error:
        return error.code
    return 200


read = ask("query($id: ID!) { order(id: $id) { note tags } }", id="gid://shopify/Order/1001")
first, again = refund("10.00", "k-1"), refund("10.00", "k-1")
print(
    json.dumps(
        {
            "read": read["data"]["order"],
            "wrote": first["data"]["refundCreate"]["refund"]["totalRefundedSet"]["shopMoney"]["amount"],
            "replayed": first["data"]["refundCreate"]["refund"]["id"] == again["data"]["refundCreate"]["refund"]["id"],
            "over": len(refund("999.00", "k-2")["data"]["refundCreate"]["userErrors"]),
            "keyless": refund("1.00", "k-3", "")["errors"][0]["extensions"]["code"],
            "set": metafield("d0")["metafields"][0]["value"],
            "stale": metafield("d0")["userErrors"][0]["code"],
            "missing": ask("query($id: ID!) { order(id: $id) { id } }", id="gid://shopify/Order/9")["data"]["order"],
            "stranger": stranger(),
        }
    )
)
