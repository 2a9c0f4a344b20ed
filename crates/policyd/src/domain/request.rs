//! An authorization request after the edge has taken it apart: who asks is known from the
//! channel, arguments are canonical, sizes are within their limits.

pub mod intent;

use uuid::Uuid;
use writ_proto::context;
use writ_proto::digest::{RequestParts, request_hash, sha256};
use writ_proto::ids::{ActionName, AgentId, RequestId, RunId, TenantId};
use writ_proto::token::Mode;
use writ_proto::value::{Map, Value};

/// A quote that supports an argument; recorded, not hashed into the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of document.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The quoted part.
    pub quote: String,
    /// SHA-256 of the document, as the agent says.
    pub sha256: Option<[u8; 32]>,
    /// Arguments of the request that the agent is not sure of.
    pub uncertain: Vec<String>,
    /// Where the value of an argument is to be found; none where it is only told.
    pub cites: Option<Cites>,
}

/// Which argument a quote supports, and where connectord finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cites {
    /// The argument.
    pub argument: String,
    /// Connection, object, id and name of the text.
    pub source: [String; 4],
    /// How its value is looked for.
    pub extractor: Extractor,
}

/// How the value of an argument is looked for in a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extractor {
    /// The value itself.
    Literal,
    /// A word of the card.
    Enum,
    /// A day.
    Date,
    /// An amount.
    Money,
}

impl Extractor {
    const NAMES: [(Self, &str); 4] = [
        (Self::Literal, "literal"),
        (Self::Enum, "enum"),
        (Self::Date, "date"),
        (Self::Money, "money"),
    ];

    /// Its name in records and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        let own = names.find(|(extractor, _)| *extractor == self);
        own.map_or("", |(_, name)| name)
    }

    /// By its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        let own = names.find(|(_, known)| *known == name);
        own.map(|(extractor, _)| *extractor)
    }
}

/// What made the agent ask, as it or the program around it says; recorded, and seen by no policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Who or what began it, or empty.
    pub initiator: String,
    /// SHA-256 of the prompt.
    pub prompt_sha256: Option<[u8; 32]>,
    /// Model and version, or empty.
    pub model: String,
    /// What a tool answered, or empty.
    pub tool_answer: String,
}

/// What kind of evidence an agent's own word is.
pub const SELF_REPORT: &str = "self_report";

impl Evidence {
    /// What an agent says of its own doubts; none where it has none.
    #[must_use]
    pub fn self_report(uncertain: Vec<String>) -> Option<Self> {
        (!uncertain.is_empty()).then(|| Self {
            kind: SELF_REPORT.to_owned(),
            id: String::new(),
            quote: String::new(),
            sha256: None,
            uncertain,
            cites: None,
        })
    }
}

impl Evidence {
    /// Evidence for an argument in a policy test, where nobody looks.
    #[must_use]
    pub fn found(argument: &str) -> Self {
        Self {
            kind: String::new(),
            id: String::new(),
            quote: String::new(),
            sha256: None,
            uncertain: Vec::new(),
            cites: Some(Cites {
                argument: argument.to_owned(),
                source: Default::default(),
                extractor: Extractor::Literal,
            }),
        }
    }
}

/// One exact action that an agent asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Tenant of the certificate.
    pub caller_tenant: TenantId,
    /// Agent of the certificate.
    pub agent: AgentId,
    /// SHA-256 of the client certificate (DER).
    pub cert_sha256: Option<[u8; 32]>,
    /// Tenant that the request names.
    pub tenant: TenantId,
    /// The caller's own id of this request.
    pub request_id: RequestId,
    /// Connection id.
    pub connection: String,
    /// Name of the action card.
    pub action: ActionName,
    /// Object type and id.
    pub target: Option<(String, String)>,
    /// The arguments.
    pub args: Map,
    /// Their canonical bytes.
    pub args_cbor: Vec<u8>,
    /// Version tag or digest that the agent relied on.
    pub precondition: Option<String>,
    /// Dry run or execute.
    pub mode: Mode,
    /// Why, in the agent's words.
    pub reason: String,
    /// What supports the arguments.
    pub evidence: Vec<Evidence>,
    /// How sure the agent says it is, 0 to 100; none where it does not say.
    pub confidence: Option<u8>,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
    /// The run of the agent that it belongs to; recorded and counted, not hashed.
    pub run: Option<RunId>,
    /// What made the agent ask.
    pub provenance: Provenance,
    /// The agent says that it means the same once more.
    pub again: bool,
}

impl Request {
    /// The request hash (docs/token.md).
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        request_hash(&RequestParts {
            tenant: self.tenant.as_str(),
            connection: &self.connection,
            action: self.action.as_str(),
            target: self
                .target
                .as_ref()
                .map(|(kind, id)| (kind.as_str(), id.as_str())),
            args_cbor: &self.args_cbor,
            precondition: self.precondition.as_deref(),
        })
    }

    /// The id under which the decision is kept. It is made of the agent too, so that no agent can
    /// use up the ids of another.
    #[must_use]
    pub fn stored_id(&self) -> Uuid {
        let parts = vec![
            Value::Text(context::REQUEST_ID.to_owned()),
            Value::Text(self.agent.as_str().to_owned()),
            Value::Bytes(self.request_id.uuid().as_bytes().to_vec()),
        ];
        let digest = sha256(&Value::List(parts).encode());
        let half = core::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
        uuid::Builder::from_custom_bytes(half).into_uuid()
    }

    /// Every argument that the agent is not sure of.
    pub fn uncertain(&self) -> impl Iterator<Item = &str> {
        let items = self.evidence.iter();
        items.flat_map(|item| item.uncertain.iter().map(String::as_str))
    }

    /// The items of evidence that say where a value stands, in their order.
    pub fn cited(&self) -> impl Iterator<Item = (&Evidence, &Cites)> {
        let items = self.evidence.iter();
        items.filter_map(|item| Some((item, item.cites.as_ref()?)))
    }

    /// Tells one request under a `request_id` from another: hash, agent and mode.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let parts = vec![
            Value::Text(context::FINGERPRINT.to_owned()),
            Value::Bytes(self.hash().to_vec()),
            Value::Text(self.caller_tenant.as_str().to_owned()),
            Value::Text(self.agent.as_str().to_owned()),
            Value::Text(self.mode.name().to_owned()),
        ];
        sha256(&Value::List(parts).encode())
    }
}
