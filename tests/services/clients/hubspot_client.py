"""HubSpot's own client against what speaks like HubSpot: BASE TOKEN. Prints one JSON object of what it saw."""

import json
import sys

from hubspot import HubSpot
from hubspot.crm.deals import ApiException, SimplePublicObjectInput
from hubspot.crm.objects.notes import (
    ApiException as NoteException,
    AssociationSpec,
    PublicAssociationsForObject,
    PublicObjectId,
    SimplePublicObjectInputForCreate,
)

base, token = sys.argv[1:]


def client(secret: str) -> HubSpot:
    made = HubSpot(access_token=secret)
    made.config["host"] = base
    return made


own = client(token)
deals = own.crm.deals.basic_api


def code(call) -> str:
    """The status and the category of the error that a call ends with."""
    try:
        call()
    except (ApiException, NoteException) as error:
        return f"{error.status} {json.loads(error.body)['category']}"
    return "no error"


def change(**properties):
    return deals.update("512", SimplePublicObjectInput(properties=properties))


def note(text: str, deal: str):
    kind = AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=214)
    to = PublicAssociationsForObject(to=PublicObjectId(id=deal), types=[kind])
    properties = {"hs_timestamp": "2026-11-01T08:00:00Z", "hs_note_body": text}
    return own.crm.objects.notes.basic_api.create(
        SimplePublicObjectInputForCreate(properties=properties, associations=[to])
    )


read = deals.get_by_id("512", properties=["dealstage", "amount", "nothing"])
wrote = change(dealstage="qualifiedtobuy", amount="")
print(
    json.dumps(
        {
            "read": read.properties["dealstage"],
            "unknown": read.properties["nothing"],
            "wrote": wrote.properties["dealstage"],
            "cleared": deals.get_by_id("512", properties=["amount"]).properties["amount"],
            "noted": note("called", "512").properties["hs_note_body"],
            "stages": len(own.crm.pipelines.pipelines_api.get_all("deals").results[0].stages),
            "stage": code(lambda: change(dealstage="nowhere")),
            "property": code(lambda: change(colour="red")),
            "missing": code(lambda: deals.get_by_id("999")),
            "orphan": code(lambda: note("called", "999")),
            "stranger": code(lambda: client("pat-other").crm.deals.basic_api.get_by_id("512")),
        }
    )
)
