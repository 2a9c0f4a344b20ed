//! An agent calls every method that there is, as the descriptor lists them, and reads no text and no name of a rule in
//! any answer. A new method is tried without a line here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::{Asked, World, refund, stage};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use writ_proto::pb;

/// How long a stream may say nothing.
const QUIET: Duration = Duration::from_millis(400);
/// How deep messages within messages are filled.
const DEEP: usize = 4;
const PLANTED: &str = "planted";

/// Messages as the bytes that they are.
#[derive(Debug, Default, Clone)]
pub(super) struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What fields are filled with, by their name.
struct Fill<'a> {
    messages: &'a BTreeMap<String, DescriptorProto>,
    texts: BTreeMap<&'static str, String>,
    bytes: BTreeMap<&'static str, Vec<u8>>,
    call: pb::ActionCall,
}

impl Fill<'_> {
    /// One that is looked up, for an argument of the call.
    fn evidence(&self) -> pb::Evidence {
        let argument = match self.call.action.as_str() {
            "refund" => "amount",
            _ => "stage",
        };
        pb::Evidence {
            quote: "of it".into(),
            argument: argument.into(),
            source: Some(pb::TextSource {
                connection: String::new(),
                object_type: "ticket".into(),
                object_id: "T-1".into(),
                text: "message".into(),
            }),
            extractor: pb::Extractor::Enum.into(),
            ..pb::Evidence::default()
        }
    }

    fn message(&self, name: &str, depth: usize) -> Vec<u8> {
        let name = name.trim_start_matches('.');
        if name == "writ.v1.ActionCall" {
            return self.call.encode_to_vec();
        }
        if name == "writ.v1.Evidence" {
            return self.evidence().encode_to_vec();
        }
        let mut out = Vec::new();
        let Some(message) = self.messages.get(name).filter(|_| depth < DEEP) else {
            return out;
        };
        for field in &message.field {
            let tag = u32::try_from(field.number()).unwrap();
            let part = match field.r#type() {
                Type::String => self
                    .texts
                    .get(field.name())
                    .map(|text| text.clone().into_bytes()),
                Type::Bytes => self.bytes.get(field.name()).cloned(),
                Type::Message => Some(self.message(field.type_name(), depth + 1)),
                _ => None,
            };
            if let Some(part) = part {
                prost::encoding::bytes::encode(tag, &part, &mut out);
            }
        }
        out
    }
}

/// Every text that a call is answered with: messages and the whole of a refusal.
async fn answer(channel: Channel, method: &str, body: Vec<u8>) -> (bool, Vec<u8>) {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = method.parse().unwrap();
    let refused = |status: &Status| {
        let mut told = status.message().as_bytes().to_vec();
        told.extend_from_slice(status.details());
        told
    };
    let sent = client.server_streaming(Request::new(Bytes::from(body)), path, Raw);
    let mut stream = match sent.await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (false, refused(&status)),
    };
    let mut told = Vec::new();
    loop {
        match tokio::time::timeout(QUIET, stream.message()).await {
            Ok(Ok(Some(part))) => told.extend_from_slice(&part),
            Ok(Err(status)) => return (false, refused(&status)),
            Ok(Ok(None)) | Err(_) => return (true, told),
        }
    }
}

/// Rules that can be told from every other text.
fn plant(world: &World) {
    let folder = world.path("policies/acme");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "cedar") {
            let mut text = std::fs::read_to_string(&path).unwrap();
            for name in ["id", "reason", "owner", "approved_by"] {
                text = text.replace(&format!("@{name}(\""), &format!("@{name}(\"{PLANTED}-"));
            }
            std::fs::write(&path, text).unwrap();
        }
    }
}

fn fills<'a>(
    messages: &'a BTreeMap<String, DescriptorProto>,
    asked: &Asked,
    execution: &str,
) -> Vec<Fill<'a>> {
    let decision = asked.decision.name.clone();
    let budget = "tenants/acme/budgets/refunds-a-day".to_owned();
    let action = "tenants/acme/actions/refund".to_owned();
    let incident = decision.replace("decisions", "incidents");
    let names = [decision, execution.to_owned(), budget, action, incident];
    let fill = |name: String| Fill {
        messages,
        texts: BTreeMap::from([
            ("parent", "tenants/acme".to_owned()),
            ("name", name),
            ("request_id", e2e::request_id()),
            ("reason", "asked".to_owned()),
            ("run_id", "test".to_owned()),
            ("scope", "tenant:acme/agent:triage".to_owned()),
        ]),
        bytes: BTreeMap::from([("token", asked.decision.token.clone())]),
        call: asked.call.clone(),
    };
    names.into_iter().map(fill).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_limits_of_every_method() {
    let mut world = World::prepare(&[]);
    plant(&world);
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let done = agent.carry(&stage("D-104", "qualified")).await;
    let denied = agent.ask(&refund("O-6", "9999.00")).await;
    let allowed = agent.ask(&stage("D-104", "proposal")).await;
    assert_eq!(denied.decision.verdict, i32::from(pb::Verdict::Deny));

    let files = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let mut messages = BTreeMap::new();
    for file in &files.file {
        for message in &file.message_type {
            messages.insert(
                format!("{}.{}", file.package(), message.name()),
                message.clone(),
            );
        }
    }
    let (mut answered, mut all) = (BTreeSet::new(), BTreeSet::new());
    for file in files.file.iter().filter(|file| file.package() == "writ.v1") {
        for service in &file.service {
            let of_connectord = ["ConnectorService", "HaltService"].contains(&service.name());
            for method in &service.method {
                let path = format!("/writ.v1.{}/{}", service.name(), method.name());
                all.insert(path.clone());
                for asked in [&denied, &allowed] {
                    for fill in fills(&messages, asked, &done.name) {
                        let channel = if of_connectord {
                            world
                                .channel("agent-acme-triage", world.connectord_port)
                                .await
                                .unwrap()
                        } else {
                            world.policyd_channel("agent-acme-triage").await
                        };
                        let body = fill.message(method.input_type(), 0);
                        let (ok, told) = answer(channel, &path, body).await;
                        if ok {
                            answered.insert(path.clone());
                        }
                        let text = String::from_utf8_lossy(&told).to_lowercase();
                        assert!(!text.contains(PLANTED), "{path}: {text}");
                    }
                }
            }
        }
    }
    let known: BTreeSet<&str> = answered.iter().map(String::as_str).collect();
    for method in [
        "/writ.v1.AuthorizationService/Authorize",
        "/writ.v1.AuthorizationService/GetDecision",
        "/writ.v1.AuthorizationService/SimulateAuthorization",
        "/writ.v1.BudgetService/ListBudgets",
        "/writ.v1.ConnectorService/GetExecution",
        "/writ.v1.ConnectorService/ListExecutions",
        "/writ.v1.HaltService/ListHalts",
    ] {
        assert!(
            known.contains(method),
            "{method} answered nothing: {known:?}"
        );
    }
    assert!(
        all.len() > 35 && answered.len() >= 12,
        "{} of {}: {answered:?}",
        answered.len(),
        all.len()
    );
    // The operator reads them: what is looked for is there.
    let records = format!("{:?}", world.records().await);
    assert!(records.contains(PLANTED));
}
