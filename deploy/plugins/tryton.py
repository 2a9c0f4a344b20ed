"""A plug-in of connectord for Tryton 8 (https://www.tryton.org), as a sample of the driver `remote` (docs/plugins.md).

Tryton speaks JSON-RPC: every call is a POST to one address, every answer of the application is HTTP 200, and a stale write
is an exception with a name. The system language of Writ judges requests by their line and answers by their status. This file
translates between the two, and does nothing else: it has no credential, opens no connection to Tryton and keeps no state.
connectord makes the calls.

    GET   /MODEL/ID?fields=a,b      one record, with its `_timestamp`     search_read, so that an inactive one is found
    GET   /MODEL?a=x&b.ilike=%y%    {"items": [..], "more": false}        search_read
    PATCH /MODEL/ID    {a: x}       {"id": ID}; If-Match: its `_timestamp`  write
    POST  /MODEL       {a: x}       {"id": ID}                            create

Needs grpcio and grpcio-tools. Run it beside connectord, in a folder that nobody else may write to:

    python tryton.py --socket run/tryton.sock --proto proto
"""

import argparse
import json
import os
import re
import stat
import sys
from concurrent import futures
from urllib.parse import parse_qsl

import grpc

NAME = "tryton/1"
# Records that one search shows.
MOST = 100
MODEL = re.compile(r"^/([a-z0-9_]+(?:\.[a-z0-9_]+)+)(?:/([1-9][0-9]{0,17}))?$")
OPERATORS = {"": "=", "ilike": "ilike"}


class Refused(Exception):
    """There is no such call."""


def rpc(model, method, *params):
    # Exactly these three keys: with any other set Tryton answers in another form.
    return {"id": 1, "method": f"model.{model}.{method}", "params": list(params)}


def plan(call):
    """The call of Tryton for a call of the system file, and what `judge` has to know of it."""
    found = MODEL.match(call.path)
    if not found:
        raise Refused(f"{call.path}: a path is /MODEL or /MODEL/ID")
    model, record = found[1], found[2] and int(found[2])
    query = parse_qsl(call.query, keep_blank_values=True, strict_parsing=bool(call.query))
    headers = {header.name: header.value for header in call.headers}
    writes = call.method != "GET"
    # What is not translated is refused: a guard or a key that nobody looks at would be none.
    strange = set(headers) - ({"if-match"} if call.method == "PATCH" else set())
    if strange:
        raise Refused(f"{', '.join(sorted(strange))}: Tryton has nothing of the kind")
    if writes and query:
        raise Refused("a write has no query")
    fields = [name for key, value in query if key == "fields" for name in value.split(",")]
    fields += ["id", "_timestamp"]
    if call.method == "GET" and record:
        domain = [["id", "=", record]]
        return rpc(model, "search_read", domain, 0, 2, None, fields, {"active_test": False}), {"one": record}
    if call.method == "GET":
        domain = []
        for key, value in query:
            if key != "fields":
                name, _, operator = key.partition(".")
                if operator not in OPERATORS:
                    raise Refused(f"{key}: a search compares by nothing or by .ilike")
                if operator == "ilike" and re.search(r"[%_\\\\]", value.removeprefix("%").removesuffix("%")):
                    raise Refused(f"{key}: %, _ and \\\\ would match anything")
                domain.append([name, OPERATORS[operator], value])
                fields.append(name)
        # One more than is shown tells whether there are more.
        return rpc(model, "search_read", domain, 0, MOST + 1, [["id", "ASC"]], fields, {"active_test": False}), {"many": True}
    values = json.loads(call.body)
    if call.method == "PATCH" and record:
        context = {}
        if "if-match" in headers:
            context["_timestamp"] = {f"{model},{record}": headers["if-match"]}
        return rpc(model, "write", [record], values, context), {"wrote": record}
    if call.method == "POST" and not record:
        return rpc(model, "create", [values], {}), {"made": True}
    raise Refused(f"{call.method} {call.path}: there is no such call")


def plain(value):
    """A value as JSON has it; Tryton marks what JSON has not."""
    if isinstance(value, dict) and "__class__" in value:
        kind = value["__class__"]
        if kind == "Decimal":
            return value["decimal"]
        day = "{year:04}-{month:02}-{day:02}"
        if kind == "date":
            return day.format(**value)
        if kind == "datetime":
            return (day + "T{hour:02}:{minute:02}:{second:02}.{microsecond:06}Z").format(**value)
    return value


def said(error):
    """What Tryton says went wrong, as one sentence."""
    texts = error[1] if len(error) > 1 else error[0]
    texts = texts if isinstance(texts, list) else [texts]
    return " ".join(text for text in texts if isinstance(text, str) and text) or str(error[0])


# What these mean is known: the transaction was rolled back. Everything else is a fault of Tryton, of which nobody knows.
MEANS = {"ConcurrencyException": 412, "UserError": 422, "UserWarning": 422, "LoginException": 401}


def judge(memory, status, body):
    """Status and body as the system file judges them."""
    if status != 200 or not isinstance(body, dict):
        return status if status >= 400 else 502, {"message": "no answer of JSON-RPC"}
    if "error" in body:
        error = body["error"] if isinstance(body["error"], list) and body["error"] else ["?"]
        return MEANS.get(error[0], 500), {"message": said(error)}
    result = body.get("result", ...)
    records = [{name: plain(value) for name, value in one.items()} for one in result] if isinstance(result, list) and all(isinstance(one, dict) for one in result) else None
    if "one" in memory and records is not None:
        one = [record for record in records if record.get("id") == memory["one"]]
        return (200, one[0]) if one else (404, {"message": "no such record"})
    if "many" in memory and records is not None:
        return 200, {"items": records[:MOST], "more": len(records) > MOST}
    if "wrote" in memory and result is None:
        return 200, {"id": memory["wrote"]}
    if "made" in memory and isinstance(result, list) and len(result) == 1 and isinstance(result[0], int):
        return 200, {"id": result[0]}
    return 502, {"message": "not the answer of such a call"}


def serve(socket, proto, ready):
    sys.path.insert(0, proto)
    messages, services = grpc.protos_and_services("writ/v1/plugin.proto")

    class Tryton(services.SystemPluginServicer):
        def Plan(self, request, context):
            try:
                if request.call.method != "GET" and not request.writes:
                    raise Refused(f"{request.call.method} writes, and this may not")
                planned, memory = plan(request.call)
            except (Refused, ValueError) as error:
                return messages.PlanResponse(plugin=NAME, refused=str(error))
            call = messages.PluginCall(method="POST", path="/rpc/", body=json.dumps(planned).encode())
            return messages.PlanResponse(plugin=NAME, call=call, memory=json.dumps(memory).encode())

        def Judge(self, request, context):
            answer = request.answer
            try:
                status, body = judge(json.loads(request.memory), answer.status, json.loads(answer.body))
            except (AttributeError, KeyError, TypeError, ValueError):
                # Nobody knows what it means.
                status, body = 502, {"message": "an answer that this plug-in does not understand"}
            judged = messages.PluginAnswer(status=status, body=json.dumps(body).encode())
            return messages.JudgeResponse(plugin=NAME, answer=judged)

    # The group of the folder, which is connectord's, may connect.
    os.umask(0o007)
    if os.path.exists(socket):
        if not stat.S_ISSOCK(os.stat(socket).st_mode):
            sys.exit(f"{socket} is there, and is no socket")
        os.unlink(socket)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    services.add_SystemPluginServicer_to_server(Tryton(), server)
    server.add_insecure_port(f"unix:{os.path.abspath(socket)}")
    server.start()
    if ready:
        open(ready, "w").close()
    server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--socket", required=True, help="where connectord finds the plug-in")
    parser.add_argument("--proto", default="proto", help="folder that holds writ/v1/plugin.proto")
    parser.add_argument("--ready-file", help="is made once the plug-in listens")
    args = parser.parse_args()
    serve(args.socket, args.proto, args.ready_file)
