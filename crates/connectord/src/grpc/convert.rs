//! Wire types to ours and back. Every field of a request is named here, so that one that is added
//! to the proto breaks the build instead of being ignored.

use writ_proto::card::{Rollout, Verb};
use writ_proto::ids::{AgentId, RequestId, RunId, TenantId};
use writ_proto::limits::{
    ARGS_BYTES_MAX, IDENT_BYTES_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PRECONDITION_BYTES_MAX,
};
use writ_proto::token::Mode;
use writ_proto::{Reason, pb};

use crate::app::read::{Reading, SeenRecord};
use crate::app::rollout::Move;
use crate::app::undo::{Batch, Undone};
use crate::domain::execution::{Execution, Proof, State};
use crate::domain::gate::Call;
use crate::error::AppError;
use crate::store::{Filter, Readers};
use crate::wire::outcome::{changes, timestamp};

/// Executions that one call of a batch looks at: each takes a few round trips.
const UNDO_PAGE_DEFAULT: u32 = 50;
const UNDO_PAGE_MAX: u32 = 100;

pub(crate) fn malformed(what: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, what)
}

/// The call of an authenticated agent, with the token to check it against.
///
/// # Errors
/// The first field that is missing, malformed or too large.
pub fn call(
    message: pb::ExecuteRequest,
    caller: (&TenantId, &AgentId),
) -> Result<(Vec<u8>, Call), AppError> {
    let pb::ExecuteRequest {
        parent,
        request_id,
        token,
        call,
        run_id,
    } = message;
    let request = RequestId::parse(&request_id).map_err(|error| malformed(error.to_string()))?;
    let mut call = exact_call(&parent, call, caller)?;
    call.request_id = request.uuid();
    call.run_id = checked_run(run_id)?;
    Ok((token, call))
}

fn checked_run(run: String) -> Result<String, AppError> {
    if !run.is_empty() {
        RunId::parse(&run).map_err(|error| malformed(error.to_string()))?;
    }
    Ok(run)
}

/// The call of a reading, with the token to check it against.
///
/// # Errors
/// The first field that is missing, malformed or too large.
pub fn reading(
    message: pb::ReadRequest,
    caller: (&TenantId, &AgentId),
) -> Result<(Vec<u8>, Call), AppError> {
    let pb::ReadRequest {
        parent,
        request_id,
        token,
        call,
        run_id,
    } = message;
    let same = pb::ExecuteRequest {
        parent,
        request_id,
        token,
        call,
        run_id,
    };
    self::call(same, caller)
}

/// What a reading showed, for the wire.
#[must_use]
pub fn read(reading: Reading) -> pb::ReadResponse {
    let Reading { execution, records } = reading;
    let object = &execution.object;
    let record = |record: SeenRecord| pb::SeenRecord {
        target: Some(pb::Target {
            r#type: object.clone(),
            id: record.id,
        }),
        version: record.version.unwrap_or_default(),
        fields: record
            .fields
            .into_iter()
            .map(|field| pb::SeenField {
                value_json: field.value.to_json(),
                untrusted: field.untrusted(),
                name: field.name,
                masked: field.masked,
            })
            .collect(),
    };
    pb::ReadResponse {
        records: records.into_iter().map(record).collect(),
        execution: format!("tenants/{}/executions/{}", execution.tenant, execution.id),
    }
}

/// The call of a preview.
///
/// # Errors
/// The first field that is missing, malformed or too large.
pub fn preview(
    message: pb::PreviewRequest,
    caller: (&TenantId, &AgentId),
) -> Result<(Vec<u8>, Call), AppError> {
    let pb::PreviewRequest {
        parent,
        token,
        call,
        run_id,
    } = message;
    let mut call = exact_call(&parent, call, caller)?;
    call.run_id = checked_run(run_id)?;
    Ok((token, call))
}

fn exact_call(
    parent: &str,
    call: Option<pb::ActionCall>,
    (own, agent): (&TenantId, &AgentId),
) -> Result<Call, AppError> {
    let tenant = parent
        .strip_prefix("tenants/")
        .ok_or_else(|| malformed("parent: tenants/{t}"))?;
    let tenant = TenantId::parse(tenant).map_err(|error| malformed(error.to_string()))?;
    let call = call.ok_or_else(|| malformed("call is missing"))?;
    let pb::ActionCall {
        connection,
        action,
        target,
        mode,
        precondition,
        arguments,
    } = call;
    let args_cbor = match arguments {
        Some(pb::action_call::Arguments::ArgsCbor(bytes)) => bytes,
        Some(pb::action_call::Arguments::ArgsJson(_)) => {
            return Err(malformed(
                "arguments: Execute takes the args_cbor that policyd returned",
            ));
        }
        None => return Err(malformed("arguments are missing")),
    };
    let sizes = [
        ("args_cbor", args_cbor.len(), ARGS_BYTES_MAX),
        ("connection", connection.len(), IDENT_BYTES_MAX),
        ("action", action.len(), IDENT_BYTES_MAX),
        (
            "precondition",
            precondition.as_deref().map_or(0, str::len),
            PRECONDITION_BYTES_MAX,
        ),
        (
            "target.type",
            target.as_ref().map_or(0, |t| t.r#type.len()),
            IDENT_BYTES_MAX,
        ),
        (
            "target.id",
            target.as_ref().map_or(0, |t| t.id.len()),
            IDENT_BYTES_MAX,
        ),
    ];
    for (name, found, most) in sizes {
        if found > most {
            let message = format!("{name}: {found} bytes, at most {most}");
            return Err(AppError::new(Reason::RequestTooLarge, message));
        }
    }
    let mode = match pb::Mode::try_from(mode) {
        Ok(pb::Mode::Unspecified | pb::Mode::DryRun) => Mode::DryRun,
        Ok(pb::Mode::Execute) => Mode::Execute,
        Err(_) => return Err(malformed("mode is not known")),
    };
    Ok(Call {
        tenant: tenant.as_str().to_owned(),
        caller_tenant: own.as_str().to_owned(),
        agent: agent.as_str().to_owned(),
        connection,
        action,
        target: target.map(|pb::Target { r#type, id }| (r#type, id)),
        args_cbor,
        precondition,
        mode,
        request_id: uuid::Uuid::nil(),
        run_id: String::new(),
    })
}

const fn state(state: State) -> pb::ExecutionState {
    match state {
        State::Claimed => pb::ExecutionState::Claimed,
        State::Sending => pb::ExecutionState::Sending,
        State::Done => pb::ExecutionState::Done,
        State::Failed => pb::ExecutionState::Failed,
        State::InDoubt => pb::ExecutionState::InDoubt,
        State::ReconciledApplied => pb::ExecutionState::ReconciledApplied,
        State::ReconciledNotApplied => pb::ExecutionState::ReconciledNotApplied,
        State::Human => pb::ExecutionState::Human,
    }
}

/// The state that a list asks for.
///
/// # Errors
/// When it is not known.
pub fn wanted_state(wanted: i32) -> Result<Option<String>, AppError> {
    let wanted = pb::ExecutionState::try_from(wanted).map_err(|_| malformed("state"))?;
    let found = State::ALL.into_iter().find(|known| state(*known) == wanted);
    Ok(found.map(|known| known.name().to_owned()))
}

/// An execution for the wire, and whether its undo is signed.
#[must_use]
pub fn execution(execution: Execution, undo_signed: bool) -> pb::Execution {
    let mode = if execution.execute {
        pb::Mode::Execute
    } else {
        pb::Mode::DryRun
    };
    let sets_fields = Verb::from_name(&execution.verb).is_some_and(Verb::sets_fields);
    let forward = execution.undo_of.is_empty() && !execution.changes.is_empty();
    let undoable = execution.wrote && sets_fields && forward;
    pb::Execution {
        name: format!("tenants/{}/executions/{}", execution.tenant, execution.id),
        state: state(execution.state).into(),
        mode: mode.into(),
        wrote: execution.wrote,
        changes: changes(&execution.changes),
        collateral: changes(&execution.collateral),
        sentence: execution.sentence,
        reason_code: execution.reason_code,
        message: execution.message,
        decision_id: execution.decision,
        agent: execution.agent,
        action: execution.action,
        connection: execution.connection,
        target: Some(pb::Target {
            r#type: execution.object,
            id: execution.target,
        }),
        run_id: execution.run,
        create_time: Some(timestamp(execution.created_ms)),
        undo_expire_time: undoable.then(|| timestamp(execution.undo_until_ms)),
        undone_by: execution.undone_by,
        created_id: execution.created_id,
        surprise: execution.surprise,
        undo_signed: undoable && undo_signed,
        seen_other: execution.proof == Proof::SeenOther,
        unprotected_ms: execution.unprotected_ms,
        card_digest: hex::decode(&execution.card_digest).unwrap_or_default(),
        system_digest: hex::decode(&execution.system_digest).unwrap_or_default(),
        settled_by: execution.settled_by,
        requests: execution.requests,
    }
}

/// What a list asks for, and where its page begins.
///
/// # Errors
/// The first field that is not known or malformed.
pub fn filter(message: pb::ListExecutionsRequest) -> Result<Filter, AppError> {
    let pb::ListExecutionsRequest {
        parent: _,
        page_size,
        page_token,
        state,
        run_id,
        action,
        agent,
        target_id,
        mode,
        surprises,
        since,
    } = message;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    if !page_token.is_empty() && uuid::Uuid::try_parse(&page_token).is_err() {
        return Err(malformed("page_token: not one of this list"));
    }
    let size = match usize::try_from(page_size) {
        Ok(size) if size > 0 => size.min(PAGE_SIZE_MAX),
        _ => PAGE_SIZE_DEFAULT,
    };
    let execute = match pb::Mode::try_from(mode) {
        Ok(pb::Mode::Unspecified) => None,
        Ok(pb::Mode::DryRun) => Some(false),
        Ok(pb::Mode::Execute) => Some(true),
        Err(_) => return Err(malformed("mode is not known")),
    };
    Ok(Filter {
        readers: Readers::Lists,
        state: wanted_state(state)?,
        run: given(run_id),
        action: given(action),
        agent: given(agent),
        target: given(target_id),
        execute,
        surprises,
        since_ms: since.map(|since| since.seconds.saturating_mul(1_000)),
        touched_since_ms: None,
        until_ms: None,
        before: given(page_token),
        limit: u32::try_from(size).unwrap_or(1),
    })
}

/// Which executions a batch of undos is about, and where its page begins.
///
/// # Errors
/// When nothing narrows it, or a field is malformed.
pub fn selection(message: pb::BatchUndoRequest) -> Result<Filter, AppError> {
    let pb::BatchUndoRequest {
        parent: _,
        run_id,
        since,
        action,
        reason: _,
        dry_run: _,
        agent,
        target_id,
        page_size,
        page_token,
        until,
        unsigned: _,
    } = message;
    if run_id.is_empty() && since.is_none() {
        return Err(malformed("name a run_id or a time since"));
    }
    if !page_token.is_empty() && uuid::Uuid::try_parse(&page_token).is_err() {
        return Err(malformed("page_token: not one of this batch"));
    }
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let size = u32::try_from(page_size).unwrap_or_default();
    Ok(Filter {
        run: given(run_id),
        action: given(action),
        agent: given(agent),
        target: given(target_id),
        execute: Some(true),
        since_ms: since.map(|since| since.seconds.saturating_mul(1_000)),
        until_ms: until.map(|until| until.seconds.saturating_mul(1_000)),
        before: given(page_token),
        limit: match size {
            0 => UNDO_PAGE_DEFAULT,
            size => size.min(UNDO_PAGE_MAX),
        },
        readers: Readers::Undos,
        ..Filter::default()
    })
}

/// The id of a call that may do without one.
///
/// # Errors
/// When it is no UUID.
pub fn optional_request(text: &str) -> Result<String, AppError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let request = RequestId::parse(text).map_err(|error| malformed(error.to_string()))?;
    Ok(request.uuid().to_string())
}

/// One page of a batch for the wire.
#[must_use]
pub fn batch(batch: Batch) -> pb::BatchUndoResponse {
    let items = batch.items.into_iter().map(undone);
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    pb::BatchUndoResponse {
        items: items.collect(),
        next_page_token: batch.next.unwrap_or_default(),
        total: count(batch.total),
        undone_earlier: count(batch.earlier),
        total_is_cut: batch.is_cut,
        in_doubt: batch.in_doubt,
    }
}

/// Where an operator wants an action to be.
///
/// # Errors
/// When the rollout is not known.
pub fn shift(message: &pb::SetActionRolloutRequest) -> Result<Move, AppError> {
    let rollout = match pb::Rollout::try_from(message.rollout) {
        Ok(pb::Rollout::Suggest) => Rollout::Suggest,
        Ok(pb::Rollout::DryRun) => Rollout::DryRun,
        Ok(pb::Rollout::Pilot) => Rollout::Pilot,
        Ok(pb::Rollout::Live) => Rollout::Live,
        Ok(pb::Rollout::Unspecified) | Err(_) => return Err(malformed("rollout")),
    };
    let until = message.until.as_ref();
    Ok(Move {
        rollout,
        until_ms: until.map_or(0, |until| until.seconds.saturating_mul(1_000)),
        accept_surprises: message.accept_surprises,
        keeps_log: false,
        accept_unseen: message.accept_unseen,
        card_digest: message.card_digest.clone(),
    })
}

/// The undo of one execution for the wire.
#[must_use]
pub fn undone(item: Undone) -> pb::UndoItem {
    let execution = *item.execution;
    let (reason_code, message) = item
        .refusal
        .map(|refusal| (refusal.reason.code().to_owned(), refusal.detail))
        .unwrap_or_default();
    pb::UndoItem {
        execution: format!("tenants/{}/executions/{}", execution.tenant, execution.id),
        undone: item.undone,
        reason_code,
        message,
        changes: changes(&item.changes),
        unsigned: item.unsigned,
        action: execution.action,
        target: Some(pb::Target {
            r#type: execution.object,
            id: execution.target,
        }),
        agent: execution.agent,
        create_time: Some(timestamp(execution.created_ms)),
    }
}

#[cfg(test)]
mod tests;
