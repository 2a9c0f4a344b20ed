//! What the slots of a system file are filled from: the plan of one call, and the answers so far.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map as JsonMap, Value as Json};
use writ_proto::money::Money;
use writ_proto::value::Value;

use crate::clock;
use crate::domain::plan::Plan;
use crate::system::document::escaped;
use crate::system::file::Object;
use crate::system::file::slot::{ArgPart, Scope, Slot};

/// One call, as slots see it.
#[derive(Debug, Clone, Default)]
pub(super) struct Filled<'a> {
    pub(super) plan: Option<&'a Plan>,
    pub(super) parts: BTreeMap<String, String>,
    pub(super) fields: Option<Json>,
    pub(super) prepared: &'a [Json],
    pub(super) answers: &'a [Json],
    pub(super) base: &'a str,
    pub(super) query: Option<String>,
    /// In a dry run the answers of steps are not there: their slots show their names.
    pub(super) dry: bool,
}

fn json(value: &Value) -> Json {
    serde_json::from_str(&value.to_json()).unwrap_or(Json::Null)
}

fn argument(value: &Value, part: ArgPart) -> Option<Json> {
    let inner = |name: &str| value.as_map()?.get(name).map(json);
    match part {
        ArgPart::Whole => Some(json(value)),
        ArgPart::Currency => inner("currency"),
        ArgPart::Value => inner("value"),
        ArgPart::Minor => Money::from_value(value)
            .ok()
            .map(|money| Json::from(money.minor())),
        ArgPart::Html => match json(value) {
            // Its lines stay lines.
            Json::String(text) => Some(Json::String(escaped(&text).replace('\n', "<br>"))),
            _ => None,
        },
        ArgPart::Text => Money::from_value(value)
            .ok()
            .map(|money| Json::from(money.amount_text())),
    }
}

/// A moment as HTTP writes it; none where the version is no moment.
pub(super) fn http_date(version: &str) -> Option<String> {
    let read = DateTime::parse_from_rfc3339(version);
    // Salesforce writes no colon in the zone.
    let read = read.or_else(|_| DateTime::parse_from_str(version, "%Y-%m-%dT%H:%M:%S%.f%z"));
    let at = read.ok()?.with_timezone(&Utc);
    Some(at.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

impl<'a> Filled<'a> {
    /// Of one record: the id must be one.
    pub(super) fn of(object: &Object, plan: &'a Plan, base: &'a str) -> Option<Self> {
        let has_id = !plan.id.is_empty() && plan.id != writ_proto::card::NO_RECORD;
        let parts = if has_id {
            object.parts(&plan.id)?
        } else {
            BTreeMap::new()
        };
        Some(Self {
            plan: Some(plan),
            parts,
            base,
            ..Self::default()
        })
    }

    /// The same with the fields to write, as the system spells them.
    pub(super) fn with_fields(self, object: &Object) -> Result<Self, String> {
        let mut fields = JsonMap::new();
        for planned in self.plan.iter().flat_map(|plan| &plan.fields) {
            let field = object.fields.get(&planned.field);
            let field = field.ok_or_else(|| format!("there is no field {}", planned.field))?;
            field.write(&planned.new, &mut fields)?;
        }
        Ok(Self {
            fields: Some(Json::Object(fields)),
            ..self
        })
    }
}

impl Scope for Filled<'_> {
    fn get(&self, slot: &Slot) -> Option<Json> {
        let text = |text: &str| Some(Json::String(text.to_owned()));
        let answer = |answers: &[Json], number: usize, at: &str| {
            answers.get(number.checked_sub(1)?)?.pointer(at).cloned()
        };
        match slot {
            Slot::Id => text(&self.plan?.id),
            Slot::Part(name) => text(self.parts.get(name)?),
            Slot::Arg(name, part) => argument(self.plan?.args.get(name)?, *part),
            Slot::Fields => self.fields.clone(),
            Slot::Before(name) => {
                let field = self.plan?.fields.iter().find(|field| field.field == *name);
                Some(field?.old.as_ref().map_or(Json::Null, json))
            }
            Slot::Version => text(self.plan?.version.as_deref()?),
            Slot::VersionDate => text(&http_date(self.plan?.version.as_deref()?)?),
            Slot::Now => text(&clock::now().to_rfc3339_opts(SecondsFormat::Secs, true)),
            Slot::Key => text(&self.plan?.key),
            Slot::Prepare(number, at) => answer(self.prepared, *number, at),
            Slot::Step(number, at) if self.dry => text(&format!("{{step.{number}{at}}}")),
            Slot::Step(number, at) => answer(self.answers, *number, at),
            Slot::BaseUrl => text(self.base),
            Slot::Query => text(self.query.as_deref()?),
        }
    }
}
