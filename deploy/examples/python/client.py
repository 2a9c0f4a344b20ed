"""An agent in Python: asks policyd for one exact action and has connectord execute it.

    python client.py --policyd localhost:7350 --connectord localhost:7360 \
        --certs certs --keys keys --name agent-acme-triage --proto ../../../proto

The gRPC stubs are made at run time from the protos. The agent holds a client certificate and no
CRM credential; it sends the token and the argument bytes back exactly as it got them.
"""

import argparse
import importlib
import json
import pathlib
import sys
import tempfile
import uuid

import grpc
from grpc_tools import protoc

NAMES = ["common", "authorize", "connector"]


def stubs(proto: pathlib.Path):
    """Makes the stubs in a temporary folder and imports them."""
    out = tempfile.mkdtemp(prefix="writ-stubs-")
    files = [str(proto / "writ/v1" / f"{name}.proto") for name in NAMES]
    include = str(importlib.resources.files("grpc_tools") / "_proto")
    flags = [f"-I{proto}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *flags, *files]) != 0:
        sys.exit("the protos do not compile")
    sys.path.insert(0, out)
    load = lambda name: importlib.import_module(f"writ.v1.{name}")
    return {name: (load(f"{name}_pb2"), load(f"{name}_pb2_grpc")) for name in NAMES}


def channel(address: str, args):
    read = lambda path: pathlib.Path(path).read_bytes()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(f"{args.certs}/ca.pem"),
        private_key=read(f"{args.keys}/{args.name}-tls.pem"),
        certificate_chain=read(f"{args.certs}/{args.name}.pem"),
    )
    return grpc.secure_channel(address, credentials)


def main() -> int:
    parser = argparse.ArgumentParser()
    for flag in ["policyd", "connectord", "certs", "keys", "name", "proto"]:
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--tenant", default="acme")
    parser.add_argument("--execute", action="store_true")
    args = parser.parse_args()
    made = stubs(pathlib.Path(args.proto).resolve())
    common, authorize, authorize_grpc = made["common"][0], *made["authorize"]
    connector, connector_grpc = made["connector"]

    call = common.ActionCall(
        connection="crm/main",
        action="set_stage",
        target=common.Target(type="deal", id="D-104"),
        args_json=json.dumps({"stage": "qualified"}),
        mode=common.MODE_EXECUTE if args.execute else common.MODE_DRY_RUN,
    )
    request = authorize.AuthorizeRequest(
        parent=f"tenants/{args.tenant}",
        request_id=str(uuid.uuid4()),
        call=call,
        reason="the customer asked by mail",
    )
    policyd = authorize_grpc.AuthorizationServiceStub(channel(args.policyd, args))
    decision = policyd.Authorize(request, timeout=10).decision
    print("decision", common.Verdict.Name(decision.verdict), decision.reason_code, decision.message)
    # Whatever is not ALLOW is a refusal, also a verdict this client has never heard of.
    if decision.verdict != common.VERDICT_ALLOW:
        return 10

    call.args_cbor = decision.args_cbor
    connectord = connector_grpc.ConnectorServiceStub(channel(args.connectord, args))
    answer = connectord.Execute(
        connector.ExecuteRequest(
            parent=f"tenants/{args.tenant}",
            request_id=str(uuid.uuid4()),
            token=decision.token,
            call=call,
        ),
        timeout=30,
    )
    print("wrote" if answer.execution.wrote else "not written:", answer.execution.sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
