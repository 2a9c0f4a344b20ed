//! The methods of connectord.

use writ_proto::pb;

use super::{Caller, ID, Line, THERE, Try, call, told};

pub(super) fn execution_lines() -> Vec<Line> {
    vec![
        line!(
            "ConnectorService/ListActions",
            c,
            c.actor.execute.list_actions(pb::ListActionsRequest {
                parent: THERE.into()
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/GetAction",
            c,
            c.actor.execute.get_action(pb::GetActionRequest {
                name: format!("{THERE}/actions/add_note")
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/Preview",
            c,
            c.actor.execute.preview(pb::PreviewRequest {
                parent: THERE.into(),
                token: vec![1; 64],
                call: call(),
                run_id: String::new()
            }),
            "TOKEN_MALFORMED",
            "AGENT_REQUIRED"
        ),
        line!(
            "ConnectorService/Read",
            c,
            c.actor.execute.read(pb::ReadRequest {
                parent: THERE.into(),
                request_id: ID.into(),
                token: vec![0; 8],
                call: call(),
                run_id: String::new()
            }),
            "DRY_RUN_ONLY",
            "AGENT_REQUIRED"
        ),
        line!(
            "ConnectorService/Execute",
            c,
            c.actor.execute.execute(pb::ExecuteRequest {
                parent: THERE.into(),
                request_id: ID.into(),
                token: vec![1; 64],
                call: call(),
                run_id: String::new()
            }),
            "TOKEN_MALFORMED",
            "AGENT_REQUIRED"
        ),
        line!(
            "ConnectorService/Undo",
            c,
            c.actor.execute.undo(pb::UndoRequest {
                name: format!("{THERE}/executions/{ID}"),
                reason: "x".into(),
                dry_run: false,
                unsigned: false,
                request_id: String::new(),
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/BatchUndo",
            c,
            c.actor.execute.batch_undo(pb::BatchUndoRequest {
                parent: THERE.into(),
                run_id: "r".into(),
                reason: "x".into(),
                ..Default::default()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/GetExecution",
            c,
            c.actor.execute.get_execution(pb::GetExecutionRequest {
                name: format!("{THERE}/executions/{ID}")
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
    ]
}

pub(super) fn operator_lines() -> Vec<Line> {
    vec![
        line!(
            "ConnectorService/ListExecutions",
            c,
            c.actor.execute.list_executions(pb::ListExecutionsRequest {
                parent: THERE.into(),
                ..Default::default()
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/SetActionRollout",
            c,
            c.actor
                .execute
                .set_action_rollout(pb::SetActionRolloutRequest {
                    name: format!("{THERE}/actions/add_note"),
                    rollout: pb::Rollout::Live.into(),
                    reason: "x".into(),
                    ..Default::default()
                }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/SettleExecution",
            c,
            c.actor
                .execute
                .settle_execution(pb::SettleExecutionRequest {
                    name: format!("{THERE}/executions/{ID}"),
                    applied: true,
                    reason: "x".into()
                }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/MarkSurprise",
            c,
            c.actor.execute.mark_surprise(pb::MarkSurpriseRequest {
                name: format!("{THERE}/executions/{ID}"),
                surprise: "x".into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
    ]
}

pub(super) fn halt_lines() -> Vec<Line> {
    vec![
        line!(
            "HaltService/SetHalt",
            c,
            c.actor.halt.set_halt(pb::SetHaltRequest {
                scope: "tenant:globex".into(),
                reason: "x".into(),
                ..Default::default()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "HaltService/ClearHalt",
            c,
            c.actor.halt.clear_halt(pb::ClearHaltRequest {
                scope: "tenant:globex".into(),
                reason: "x".into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "FactService/ReadFacts",
            c,
            c.facts.read_facts(pb::ReadFactsRequest {
                parent: THERE.into(),
                connection: "crm/main".into(),
                object_type: "order".into(),
                object_id: "O-7".into(),
                fields: vec!["status".into()],
            }),
            "SERVICE_REQUIRED",
            "SERVICE_REQUIRED"
        ),
        line!(
            "FactService/CheckEvidence",
            c,
            c.facts.check_evidence(pb::CheckEvidenceRequest {
                parent: THERE.into(),
                action: "refund".into(),
                argument: "amount".into(),
                value_cbor: vec![0xa0],
                source: None,
                quote: "x".into(),
                extractor: pb::Extractor::Money.into(),
                sha256: vec![],
            }),
            "SERVICE_REQUIRED",
            "SERVICE_REQUIRED"
        ),
        line!(
            "HaltService/ListHalts",
            c,
            c.actor.halt.list_halts(pb::ListHaltsRequest {}),
            "OK",
            "OK"
        ),
        line!(
            "HaltService/GetHaltState",
            c,
            c.actor
                .halt
                .get_halt_state(pb::GetHaltStateRequest::default()),
            "OK",
            "OK"
        ),
        line!(
            "HaltService/WatchHalts",
            c,
            c.actor.halt.watch_halts(pb::WatchHaltsRequest {}),
            "OK",
            "OK"
        ),
        line!(
            "HaltService/ProbeHalt",
            c,
            c.actor.halt.probe_halt(pb::ProbeHaltRequest {
                nonce: "7f3a".into(),
                patience: None
            }),
            "OPERATOR_REQUIRED",
            "OK"
        ),
    ]
}
