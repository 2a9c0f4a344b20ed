//! How often something may be done within an hour, by a key. In memory: a process that starts
//! again has forgotten, and each replica counts by itself.

use std::collections::{BTreeMap, VecDeque};

/// Most keys remembered. Beyond them nothing is granted until some have rested for an hour.
pub const KEYS_MAX: usize = 10_000;
const HOUR_MS: i64 = 3_600 * 1_000;

/// What was granted in the last hour.
#[derive(Debug, Default)]
pub struct Allowance(BTreeMap<String, VecDeque<i64>>);

impl Allowance {
    /// Grants one more, unless as many were granted within the last hour.
    pub fn take(&mut self, key: &str, now_ms: i64, per_hour: u32) -> bool {
        let since = now_ms.saturating_sub(HOUR_MS);
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(key) {
            self.0
                .retain(|_, times| times.back().is_some_and(|last| *last > since));
            if self.0.len() >= KEYS_MAX {
                return false;
            }
        }
        let times = self.0.entry(key.to_owned()).or_default();
        while times.front().is_some_and(|first| *first <= since) {
            times.pop_front();
        }
        let granted = u32::try_from(times.len()).is_ok_and(|count| count < per_hour);
        if granted {
            times.push_back(now_ms);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_holds_so_many_and_each_key_has_its_own() {
        let mut allowance = Allowance::default();
        for at in [0, 1, 2] {
            assert!(allowance.take("a", at, 3));
        }
        assert!(!allowance.take("a", 3, 3));
        assert!(allowance.take("b", 3, 3));
        assert!(!allowance.take("a", HOUR_MS - 1, 3));
        assert!(allowance.take("a", HOUR_MS, 3));
        assert!(!allowance.take("a", HOUR_MS, 3));
        assert!(!allowance.take("c", 0, 0));
    }

    #[test]
    fn too_many_keys_grant_nothing_until_some_have_rested() {
        let mut allowance = Allowance::default();
        for key in 0..KEYS_MAX {
            assert!(allowance.take(&key.to_string(), 0, 1));
        }
        assert!(!allowance.take("one more", 1, 1));
        assert!(allowance.take("one more", HOUR_MS, 1));
    }
}
