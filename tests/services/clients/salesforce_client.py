"""simple-salesforce against what speaks like Salesforce: BASE CLIENT SECRET OPPORTUNITY. Prints one JSON object of what it saw."""

import json
import sys

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceError

base, key, secret, opportunity = sys.argv[1:]


class Plain(HTTPAdapter):
    """The client insists on https; what it talks to listens on loopback without."""

    def send(self, request, **kwargs):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **kwargs)


def token() -> str:
    form = {"grant_type": "client_credentials"}
    given = requests.post(f"{base}/services/oauth2/token", data=form, auth=(key, secret), timeout=10)
    assert given.json()["instance_url"] == base
    return given.json()["access_token"]


def client(session_id: str) -> Salesforce:
    session = requests.Session()
    session.mount("https://", Plain())
    where = base.replace("http://", "https://", 1)
    return Salesforce(instance_url=where, session_id=session_id, version="64.0", session=session)


def code(call) -> str:
    """The status and the code of the error that a call ends with."""
    try:
        call()
    except SalesforceError as error:
        return f"{error.status} {error.content[0]['errorCode']}"
    return "no error"


own = client(token())
read = own.Opportunity.get(opportunity)
fields = {field["name"]: field for field in own.Opportunity.describe()["fields"]}
old = {"If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}
task = {"Subject": "call", "WhatId": opportunity}
print(
    json.dumps(
        {
            "read": read["StageName"],
            "stamp": read["SystemModstamp"][-5:],
            "stages": [one["value"] for one in fields["StageName"]["picklistValues"] if one["active"]],
            "wrote": own.Opportunity.update(opportunity, {"StageName": "Qualification", "NextStep": ""}),
            "cleared": own.Opportunity.get(opportunity)["NextStep"],
            "task": [own.Task.upsert("Writ_Decision__c/k-1", task) for _ in range(2)],
            "found": own.query("SELECT Id FROM Task WHERE Writ_Decision__c = 'k-1'")["totalSize"],
            "used": own.api_usage["api-usage"].used,
            "stale": code(lambda: own.Opportunity.update(opportunity, {"NextStep": "x"}, headers=old)),
            "stage": code(lambda: own.Opportunity.update(opportunity, {"StageName": "Nowhere"})),
            "field": code(lambda: own.Opportunity.update(opportunity, {"Colour__c": "red"})),
            "missing": code(lambda: own.Opportunity.get("006Hs00000Nowhere0")),
            "stranger": code(lambda: client("00D!other").Opportunity.get(opportunity)),
        }
    )
)
