"""Slack's own client against what speaks like Slack: BASE TOKEN. Prints one JSON object of what it saw."""

import json
import sys

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

base, token = sys.argv[1:]
own = WebClient(token=token, base_url=f"{base}/api/")


def code(call) -> str:
    """The error that a call ends with."""
    try:
        call()
    except SlackApiError as error:
        return f"{error.response.status_code} {error.response['error']}"
    return "no error"


def post(channel: str, **more):
    return own.chat_postMessage(channel=channel, text="hello", **more)


sent = post("C0000SALES", metadata={"event_type": "t", "event_payload": {"key": "1"}})
history = own.conversations_history(channel="C0000SALES", include_all_metadata="true")
print(
    json.dumps(
        {
            "read": own.conversations_info(channel="C0000SALES")["channel"]["name"],
            "wrote": sent["ok"],
            "seen": history["messages"][0]["metadata"]["event_payload"],
            "archived": code(lambda: post("C0000GONE1")),
            "missing": code(lambda: post("C0000NOONE")),
            "empty": code(lambda: own.chat_postMessage(channel="C0000SALES", text="")),
            "stranger": code(lambda: WebClient(token="xoxb-1", base_url=f"{base}/api/").auth_test()),
        }
    )
)
