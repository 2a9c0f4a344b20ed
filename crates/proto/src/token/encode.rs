//! Writes the claims of a decision token in their one canonical form.

use super::claims::{Claims, Mode, PRIVATE, VERSION};
use crate::value::{
    write_array, write_bytes, write_head, write_int, write_map_head, write_null, write_text,
};

impl Claims {
    /// The canonical payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384);
        write_map_head(&mut out, if self.cnf.is_some() { 8 } else { 7 });
        for (label, text) in [(1, &self.iss), (2, &self.sub), (3, &self.aud)] {
            write_int(&mut out, label);
            write_text(&mut out, text);
        }
        write_int(&mut out, 4);
        write_int(&mut out, i64::from(self.exp));
        write_int(&mut out, 6);
        write_int(&mut out, i64::from(self.iat));
        write_int(&mut out, 7);
        write_bytes(&mut out, &self.cti.bytes());
        if let Some(certificate) = &self.cnf {
            write_int(&mut out, 8);
            write_map_head(&mut out, 1);
            write_int(&mut out, PRIVATE);
            write_bytes(&mut out, certificate);
        }
        write_int(&mut out, PRIVATE);
        self.encode_decision(&mut out);
        out
    }

    fn encode_decision(&self, out: &mut Vec<u8>) {
        let optional = [
            self.approval.is_some(),
            self.limits.is_some(),
            self.trace_id.is_some(),
            self.run.is_some(),
        ];
        let present = optional.into_iter().filter(|there| *there).count();
        write_map_head(out, present.saturating_add(13));
        write_int(out, 1);
        write_head(out, 0, VERSION);
        let texts = [
            (2, &self.tenant),
            (3, &self.agent),
            (4, &self.connection),
            (5, &self.action),
        ];
        for (label, text) in texts {
            write_int(out, label);
            write_text(out, text);
        }
        write_int(out, 6);
        match &self.target {
            Some((kind, id)) => {
                write_array(out, 2);
                write_text(out, kind);
                write_text(out, id);
            }
            None => write_null(out),
        }
        write_int(out, 7);
        write_bytes(out, &self.request_hash);
        write_int(out, 8);
        write_int(out, i64::from(self.mode == Mode::Execute));
        write_int(out, 9);
        write_bytes(out, &self.decision_id.bytes());
        write_int(out, 10);
        write_int(out, i64::from(self.record_version));
        write_int(out, 11);
        write_bytes(out, &self.policy_digest);
        write_int(out, 12);
        write_head(out, 0, self.epoch);
        self.encode_optional(out);
        write_int(out, 16);
        write_bytes(out, &self.card_digest);
        if let Some(run) = &self.run {
            write_int(out, 17);
            write_text(out, run);
        }
    }

    fn encode_optional(&self, out: &mut Vec<u8>) {
        if let Some(approval) = &self.approval {
            write_int(out, 13);
            write_array(out, 3);
            write_bytes(out, &approval.id);
            write_int(out, i64::from(approval.approvers));
            write_bytes(out, &approval.request_hash);
        }
        if let Some(limits) = &self.limits {
            write_int(out, 14);
            let count =
                usize::from(limits.records_max.is_some()) + usize::from(limits.money_max.is_some());
            write_map_head(out, count);
            if let Some(records) = limits.records_max {
                write_int(out, 1);
                write_int(out, i64::from(records));
            }
            if let Some((currency, amount)) = &limits.money_max {
                write_int(out, 2);
                write_array(out, 2);
                write_text(out, currency);
                out.extend_from_slice(&amount.encode());
            }
        }
        if let Some(trace) = &self.trace_id {
            write_int(out, 15);
            write_bytes(out, trace);
        }
    }
}
