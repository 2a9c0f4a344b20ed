"""Zendesk over HTTP as its documentation says it: BASE USER TOKEN. Prints one JSON object of what it saw."""

import json
import sys

import requests

base, user, token = sys.argv[1:]
own = requests.Session()
own.auth = (f"{user}/token", token)
url = f"{base}/api/v2/tickets/35"


def put(ticket: dict) -> requests.Response:
    return own.put(f"{url}.json", json={"ticket": ticket}, timeout=10)


stamp = own.get(f"{url}.json", timeout=10).json()["ticket"]["updated_at"]
wrote = put({"status": "pending", "safe_update": True, "updated_stamp": stamp})
stale = put({"status": "open", "safe_update": True, "updated_stamp": stamp})
noted = put({"comment": {"body": "called", "public": False}})
print(
    json.dumps(
        {
            "wrote": wrote.json()["ticket"]["status"],
            "event": wrote.json()["audit"]["events"][0]["previous_value"],
            "stale": [stale.status_code, stale.json()["error"]],
            "noted": noted.json()["audit"]["events"][0]["public"],
            "notes": own.get(f"{url}/comments.json", timeout=10).json()["count"],
            "invalid": put({"status": "archived"}).status_code,
            "ignored": put({"colour": "red"}).json()["audit"]["events"],
            "closed": own.put(f"{base}/api/v2/tickets/36.json", json={"ticket": {"status": "open"}}, timeout=10).status_code,
            "missing": own.get(f"{base}/api/v2/tickets/99.json", timeout=10).status_code,
            "stranger": requests.get(f"{url}.json", auth=("x/token", "y"), timeout=10).status_code,
        }
    )
)
