//! Requests with optional fields left out.

use writ_proto::card::Card;
use writ_proto::value::Map;

use crate::domain::decide::counter_offer::{EVALUATIONS_MAX, FIELDS_TRIED_MAX};
use crate::domain::request::Request;

/// The arguments with optional fields left out, fewest first, and which those are.
pub(crate) fn subsets(request: &Request, card: &Card) -> Vec<(Map, Vec<String>)> {
    let names = request.args.iter().map(|(name, _)| name);
    let optional: Vec<&str> = names
        .filter(|name| card.args.get(*name).is_some_and(|arg| arg.optional))
        .collect();
    let mut masks: Vec<u32> = if optional.len() <= FIELDS_TRIED_MAX {
        let all = 1_u32.checked_shl(u32::try_from(optional.len()).unwrap_or(0));
        (1..all.unwrap_or(1)).collect()
    } else {
        let most = u32::try_from(optional.len().min(EVALUATIONS_MAX / 2)).unwrap_or(0);
        (0..most).filter_map(|at| 1_u32.checked_shl(at)).collect()
    };
    masks.sort_by_key(|mask| (mask.count_ones(), *mask));
    let without = |mask: u32| {
        let out: Vec<String> = optional
            .iter()
            .zip(0_u32..)
            .filter(|(_, at)| mask.checked_shr(*at).unwrap_or(0) & 1 == 1)
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let mut args = Map::new();
        for (name, value) in request.args.iter() {
            if !out.iter().any(|gone| gone == name) {
                args.set(name, value.clone());
            }
        }
        (args, out)
    };
    // The card may demand one of its optional fields: `decide` refuses what it does not take.
    masks.into_iter().map(without).collect()
}
