//! The main use case: decide, make the decision durable, and only then sign.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, DecisionId, TenantId, TokenId};
use writ_proto::scope::{Part, Scope};
use writ_proto::token::{Claims, Mode};

use crate::app::App;
use crate::app::ask::decided::Decided;
use crate::app::ask::disclosed::disclosure;
use crate::app::ask::offers::{Offered, coarse};
use crate::app::containment::alike::DenialKind;
use crate::app::containment::denials::Denied;
use crate::app::containment::notices::waiting;
use crate::app::spending::over_budget::Spent;
use crate::domain::approval;
use crate::domain::budget::{Hold, Key};
use crate::domain::decide::facts::Facts;
use crate::domain::decide::known::Known;
use crate::domain::decide::{Outcome, Verdict, decide, reserve};
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{Draft, Kind, Step, listed, trace_value};
use crate::domain::request::Request;
use crate::domain::request::intent;
use crate::error::AppError;
use crate::store::{Append, Appended, DecisionRow, Incidents};
use crate::{clock, ids};

/// A decision, and the writ if it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The decision.
    pub decided: Decided,
    /// The signed token.
    pub token: Option<Vec<u8>>,
    /// Whether its agent took it back while it waited for a person.
    pub cancelled: bool,
}

/// A request that could not even be read: who asked is known, what was asked only in part.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// Tenant of the certificate.
    pub tenant: TenantId,
    /// Agent of the certificate.
    pub agent: String,
    /// Action as far as it was readable.
    pub action: String,
    /// Why.
    pub reason: Reason,
}

impl Answer {
    /// The same as the agent may read it.
    #[must_use]
    pub fn for_agent(mut self) -> Self {
        coarse(&mut self.decided);
        self
    }
}

impl App {
    fn policies_of(&self, tenant: &TenantId) -> Result<std::sync::Arc<TenantPolicies>, AppError> {
        let table = self.policies.load();
        table
            .get(tenant)
            .cloned()
            .ok_or_else(|| AppError::of(Reason::UnknownTenant))
    }

    /// What this process knows at a moment. An agent that an incident stops is halted for itself,
    /// also while connectord has not heard of it.
    pub(crate) fn facts_here(
        &self,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Facts, AppError> {
        // As exact as the record: whoever decides again has this very moment.
        let now = DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now);
        let policies = self.policies_of(&request.caller_tenant)?;
        let mut halts = self.halt_view();
        if self.is_stopped(&request.caller_tenant, &request.agent) {
            let agent = Part::Agent(request.agent.as_str().to_owned());
            let tenant = Some(request.caller_tenant.clone());
            halts.scopes.push(Scope::new(tenant, agent));
        }
        Ok(Facts {
            now,
            policies,
            halts,
            known: Known::NotAsked,
            grounds: Default::default(),
        })
    }

    /// Decides without a record and without a token. A denial counts all the same: what tells as
    /// much as a request must not be cheaper than one.
    ///
    /// # Errors
    /// When the caller's tenant has no policies, or a denial could not be counted.
    pub async fn simulate(&self, request: &Request, at: DateTime<Utc>) -> Result<Answer, AppError> {
        self.room()?;
        let facts = self.facts(request, Some(at)).await?;
        let outcome = decide(request, &facts);
        // What cannot be counted is told; whether there is room is known only when it is held.
        let (outcome, _) = reserve(request, &facts, outcome, self.identity.ttl_seconds);
        if let Some(denied) = denied(request, &outcome, &facts, clock::now()) {
            self.count(&denied).await?;
        }
        let mut decided = decided(request, &outcome, &facts);
        decided.id = String::new();
        Ok(Answer {
            decided,
            token: None,
            cancelled: false,
        })
    }

    /// Decides, records, and signs after the commit.
    ///
    /// # Errors
    /// When it could not be decided or recorded; then there is no token and no effect.
    pub async fn authorize(&self, request: &Request) -> Result<Answer, AppError> {
        self.writer.open()?;
        if let Err(full) = self.room() {
            return self.earlier_or(request, full).await;
        }
        let facts = self.facts(request, None).await?;
        let outcome = decide(request, &facts);
        let ttl = self.identity.ttl_seconds;
        let (outcome, holds) = reserve(request, &facts, outcome, ttl);
        if let Some(reason) = outcome.reason.filter(|_| outcome.verdict == Verdict::Deny) {
            let denied = denial(request, &facts, reason);
            let kind = DenialKind::of(&denied, "");
            if !self.is_recorded(&facts.policies, &kind) {
                return self.counted(request, &denied, kind).await;
            }
        }
        let keys: Vec<Key> = holds.iter().map(|hold| hold.key.clone()).collect();
        let offer = self.offer(request, &facts, &outcome).await;
        let (decided, append) = self.prepare(request, &outcome, &facts, (holds, offer))?;
        let rules = &facts.policies.incident_rules;
        let may_stop = !append.incidents.denials.is_empty();
        match self.writer.append(append).await? {
            Appended::OverBudget { hold, over } => {
                let key = keys.into_iter().nth(hold);
                let key = key.ok_or_else(|| AppError::of(Reason::Internal))?;
                let spent = Spent { key, over };
                let denied = denial(request, &facts, spent.reason());
                let kind = DenialKind::of(&denied, spent.key.as_str());
                if !self.is_recorded(&facts.policies, &kind) {
                    return self.counted(request, &denied, kind).await;
                }
                let (decided, append) = if intent::is_place(&spent.key) {
                    let tenant = &request.caller_tenant;
                    let first = self.ledger.holder(tenant, &spent.key).await?;
                    self.duplicate_intent(request, &facts, (outcome, &spent, first))?
                } else if approval::is_place(&spent.key) {
                    self.queue_full(request, &facts, (outcome, &spent))?
                } else {
                    self.over_budget(request, &facts, (outcome, spent))?
                };
                let halts = append.trip.is_some();
                let appended = self.writer.append(append).await?;
                if halts {
                    self.trips.notify_one();
                }
                self.look_for_stops(rules).await?;
                self.answer(request, decided, appended).await
            }
            appended => {
                if may_stop {
                    self.look_for_stops(rules).await?;
                }
                self.answer(request, decided, appended).await
            }
        }
    }

    /// The decision as it is answered, and as it is recorded.
    pub(crate) fn prepare(
        &self,
        request: &Request,
        outcome: &Outcome,
        facts: &Facts,
        (holds, offer): (Vec<Hold>, Option<Offered>),
    ) -> Result<(Decided, Append), AppError> {
        let mut decided = decided(request, outcome, facts);
        decided.offer = offer;
        let id = ids::new_id();
        decided.id = id.to_string();
        let claims = (outcome.verdict == Verdict::Allow)
            .then(|| self.claims(request, outcome, facts, id))
            .transpose()?;
        if let Some(claims) = &claims {
            decided.claims = claims.encode();
            decided.expires = i64::from(claims.exp);
        }
        let mut trace = outcome.trace.clone();
        trace.extend(holds.iter().map(Step::counter));
        let mut draft = self.draft(request, outcome, facts, (id, claims.as_ref()))?;
        let trace = disclosure("trace", trace_value(&trace))?;
        draft.disclosures.push(trace);
        let row = DecisionRow {
            id,
            request_id: request.stored_id(),
            fingerprint: request.fingerprint(),
            body: decided.encode(),
        };
        let append = Append {
            decision: Some(row),
            holds,
            notices: waiting(request, outcome, &decided).into_iter().collect(),
            incidents: Incidents {
                denials: denied(request, outcome, facts, facts.now)
                    .map(|denied| self.denials(&denied))
                    .unwrap_or_default(),
                ..Incidents::default()
            },
            ..Append::record(request.caller_tenant.clone(), draft)
        };
        Ok((decided, append))
    }

    /// The token leaves here, after the commit.
    async fn answer(
        &self,
        request: &Request,
        decided: Decided,
        appended: Appended,
    ) -> Result<Answer, AppError> {
        match appended {
            Appended::Stored { .. } => {
                if decided.verdict == Verdict::Allow.name() && request.mode == Mode::Execute {
                    let (tenant, target) = (&request.caller_tenant, request.target.as_ref());
                    self.forget_target(tenant, &request.connection, target)
                        .await;
                }
                Ok(self.signed(decided))
            }
            Appended::DuplicateDecision(row) => self.repeated(request, &row).await,
            Appended::DuplicateOutcome
            | Appended::OverBudget { .. }
            | Appended::RaiseRefused
            | Appended::Counted => Err(AppError::of(Reason::Internal)),
        }
    }

    /// Records a request that could not be read, as a denial of its authenticated caller.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn record_malformed(&self, malformed: &Malformed) -> Result<(), AppError> {
        self.room()?;
        let mut draft = self.blank(Kind::Evaluated, &malformed.tenant, ids::new_id());
        draft.agent.clone_from(&malformed.agent);
        draft.verdict = Some(0);
        draft.reasons = vec![malformed.reason.code().to_owned()];
        let tenant = malformed.tenant.clone();
        let policies = self.policies_of(&tenant)?;
        // What is no card's name is text of the caller, and none of it belongs into a leaf.
        let named = ActionName::parse(&malformed.action).ok();
        let card = named.and_then(|name| policies.card(&name).cloned());
        draft.action = card.map_or_else(String::new, |card| card.name.as_str().to_owned());
        let agent = AgentId::parse(&malformed.agent).map_err(|_| AppError::of(Reason::Internal))?;
        let denied = Denied {
            policies: &policies,
            agent: &agent,
            action: &malformed.action,
            reason: malformed.reason,
            at_ms: draft.time_ms,
        };
        let kind = DenialKind::of(&denied, "");
        if !self.is_recorded(&policies, &kind) {
            return self
                .only_count(&denied, kind, "")
                .await
                .map(|never| match never {});
        }
        let incidents = Incidents {
            denials: self.denials(&denied),
            ..Incidents::default()
        };
        let append = Append {
            incidents,
            ..Append::record(tenant, draft)
        };
        let may_stop = !append.incidents.denials.is_empty();
        self.writer.append(append).await?;
        if may_stop {
            self.look_for_stops(&policies.incident_rules).await?;
        }
        Ok(())
    }

    /// A decision of the caller's tenant; the agent that asked, with its name and the digest of its certificate, gets its
    /// token again.
    ///
    /// # Errors
    /// `NOT_FOUND`, also for ids of other tenants.
    pub async fn decision(
        &self,
        tenant: &TenantId,
        agent: Option<(&str, [u8; 32])>,
        id: DecisionId,
    ) -> Result<Answer, AppError> {
        self.writer.open()?;
        let row = self.ledger.decision(tenant, id.uuid()).await?;
        let row = row.ok_or_else(|| AppError::of(Reason::NotFound))?;
        let mut decided = Decided::decode(&row.body)?;
        if let Some((agent, certificate)) = agent {
            if agent != decided.agent {
                return Err(AppError::of(Reason::NotFound));
            }
            decided.bind(Some(certificate))?;
        }
        let alive = decided.expires >= clock::now().timestamp();
        let answer = self.as_it_stands(decided).await?;
        Ok(Answer {
            token: answer.token.filter(|_| agent.is_some() && alive),
            ..answer
        })
    }

    /// Signs the claims of a durable decision.
    pub(crate) fn signed(&self, decided: Decided) -> Answer {
        let token = (decided.verdict == Verdict::Allow.name() && !decided.claims.is_empty())
            .then(|| self.signer.load().mint(&decided.claims));
        Answer {
            decided,
            token,
            cancelled: false,
        }
    }

    fn claims(
        &self,
        request: &Request,
        outcome: &Outcome,
        facts: &Facts,
        id: Uuid,
    ) -> Result<Claims, AppError> {
        let overflow = || AppError::new(Reason::Internal, "the time is outside 32 bits");
        let iat = u32::try_from(facts.now.timestamp()).map_err(|_| overflow())?;
        let ttl = outcome
            .ttl_seconds
            .unwrap_or(u32::MAX)
            .min(self.identity.ttl_seconds);
        let card = facts.policies.card(&request.action);
        let card = card.ok_or_else(|| AppError::of(Reason::Internal))?;
        Ok(Claims {
            iss: self.identity.issuer.clone(),
            sub: request.agent.as_str().to_owned(),
            aud: self.identity.audience.clone(),
            exp: iat.checked_add(ttl).ok_or_else(overflow)?,
            iat,
            cti: TokenId::new(ids::new_id()),
            cnf: request.cert_sha256,
            tenant: request.tenant.as_str().to_owned(),
            agent: request.agent.as_str().to_owned(),
            connection: request.connection.clone(),
            action: request.action.as_str().to_owned(),
            target: request.target.clone(),
            request_hash: request.hash(),
            mode: request.mode,
            decision_id: DecisionId::new(id),
            record_version: 1,
            policy_digest: facts.policies.digest,
            epoch: facts.halts.epoch,
            approval: None,
            limits: None,
            trace_id: request.trace_id,
            card_digest: card.digest(),
            run: request.run.as_ref().map(|run| run.as_str().to_owned()),
        })
    }

    pub(crate) fn blank(&self, kind: Kind, tenant: &TenantId, id: Uuid) -> Draft {
        Draft {
            origin: self.identity.origin(tenant.as_str()),
            kind,
            record_id: id,
            later: false,
            time_ms: clock::now().timestamp_millis(),
            writer: self.identity.writer.clone(),
            tenant: tenant.as_str().to_owned(),
            agent: String::new(),
            connection: String::new(),
            action: String::new(),
            target_type: String::new(),
            verdict: None,
            reasons: Vec::new(),
            policy: None,
            mode: None,
            money: None,
            token: None,
            execution: None,
            budget: None,
            epoch: None,
            trace_id: None,
            incident: None,
            halt: None,
            disclosures: Vec::new(),
        }
    }

    /// A record without content, for the other use cases.
    pub(crate) fn blank_record(&self, kind: Kind, tenant: &TenantId, id: Uuid) -> Draft {
        self.blank(kind, tenant, id)
    }
}

/// A denial as rules of incidents look at it.
fn denied<'a>(
    request: &'a Request,
    outcome: &Outcome,
    facts: &'a Facts,
    at: DateTime<Utc>,
) -> Option<Denied<'a>> {
    let reason = outcome
        .reason
        .filter(|_| outcome.verdict == Verdict::Deny)?;
    Some(Denied {
        at_ms: at.timestamp_millis(),
        ..denial(request, facts, reason)
    })
}

fn denial<'a>(request: &'a Request, facts: &'a Facts, reason: Reason) -> Denied<'a> {
    Denied {
        policies: &facts.policies,
        agent: &request.agent,
        action: request.action.as_str(),
        reason,
        at_ms: facts.now.timestamp_millis(),
    }
}

fn decided(request: &Request, outcome: &Outcome, facts: &Facts) -> Decided {
    let digest = hex::encode(facts.policies.digest);
    Decided {
        id: String::new(),
        tenant: request.caller_tenant.as_str().to_owned(),
        verdict: outcome.verdict.name().to_owned(),
        reason_code: outcome
            .reason
            .map(|reason| reason.code().to_owned())
            .unwrap_or_default(),
        message: outcome.message.clone(),
        remedy: outcome.remedy.clone(),
        rules: listed(&outcome.determining),
        policy_version: format!("{} (sha256:{digest})", facts.policies.label),
        request_hash: request.hash().to_vec(),
        args_cbor: request.args_cbor.clone(),
        claims: Vec::new(),
        expires: outcome.approval.as_ref().map_or(0, |need| {
            let wait = i64::from(need.ttl_seconds);
            facts.now.timestamp().saturating_add(wait)
        }),
        created_ms: facts.now.timestamp_millis(),
        agent: request.agent.as_str().to_owned(),
        action: request.action.as_str().to_owned(),
        offer: None,
        precondition: request.precondition.clone(),
    }
}
