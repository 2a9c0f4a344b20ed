//! What agents ask for, and what they got.

use writ_proto::pb;

/// What an agent asks for.
#[derive(Clone)]
pub struct Wish {
    pub tenant: String,
    pub connection: String,
    pub action: String,
    pub target: (String, String),
    pub args: String,
    pub mode: pb::Mode,
    pub reason: String,
}

/// A decision and the call it authorises.
#[derive(Clone)]
pub struct Asked {
    pub decision: pb::Decision,
    pub call: pb::ActionCall,
    pub tenant: String,
}

pub fn stage(deal: &str, stage: &str) -> Wish {
    Wish {
        tenant: "acme".into(),
        connection: "crm/main".into(),
        action: "set_stage".into(),
        target: ("deal".into(), deal.into()),
        args: format!("{{\"stage\":\"{stage}\"}}"),
        mode: pb::Mode::Execute,
        reason: "the customer asked".into(),
    }
}

pub fn refund(order: &str, amount: &str) -> Wish {
    Wish {
        action: "refund".into(),
        target: ("order".into(), order.into()),
        args: format!("{{\"amount\":{{\"currency\":\"EUR\",\"value\":{amount}}}}}"),
        ..stage("", "")
    }
}

pub fn note(deal: &str) -> Wish {
    Wish {
        action: "add_note".into(),
        args: r#"{"text":"called back"}"#.into(),
        ..stage(deal, "")
    }
}
