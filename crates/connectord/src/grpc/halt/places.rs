//! How many streams of halts are open, and how many drills go on: a share for each caller and each tenant, so that nobody takes
//! the places of others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use writ_proto::Caller;

/// Most at once of all, of one tenant, and of one caller.
pub(super) type Most = [usize; 3];
/// Streams.
pub(super) const STREAMS: Most = [1_024, 32, 4];
/// Drills: each reads the roster a hundred times a second, and may take ten.
pub(super) const DRILLS: Most = [64, 8, 4];

type Held = Arc<Mutex<BTreeMap<String, usize>>>;

/// Who holds places.
#[derive(Debug, Clone)]
pub(super) struct Places(Held, Most);

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Places, [String; 3]);

/// What a caller counts as: all, its tenant, and itself.
fn keys(caller: &Caller) -> [String; 3] {
    let (tenant, own) = match caller {
        Caller::Agent { tenant, agent } => (tenant.to_string(), format!("agent:{agent}")),
        Caller::Operator { tenant, name } => (tenant.to_string(), format!("operator:{name}")),
        Caller::Service { name } => (String::new(), format!("service:{name}")),
    };
    let own = format!("{tenant}/{own}");
    [String::new(), format!("tenant:{tenant}"), own]
}

impl Places {
    /// With nobody in them.
    pub(super) fn new(most: Most) -> Self {
        Self(Arc::default(), most)
    }

    /// A place for a caller, if there is one.
    pub(super) fn take(&self, caller: &Caller) -> Option<Place> {
        let keys = keys(caller);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = keys.iter().zip(self.1);
        if counts.any(|(key, most)| held.get(key).is_some_and(|count| *count >= most)) {
            return None;
        }
        for key in &keys {
            let count = held.entry(key.clone()).or_default();
            *count = count.saturating_add(1);
        }
        Some(Place(self.clone(), keys))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.1 {
            let left = held.get(key).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                held.remove(key);
            } else {
                held.insert(key.clone(), left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_proto::ids::{AgentId, TenantId};

    fn agent(tenant: &str, name: &str) -> Caller {
        Caller::Agent {
            tenant: TenantId::parse(tenant).unwrap(),
            agent: AgentId::parse(name).unwrap(),
        }
    }

    #[test]
    fn nobody_takes_the_places_of_others() {
        let places = Places::new(STREAMS);
        let triage = agent("acme", "triage");
        let [_, of_tenant, of_caller] = STREAMS;
        let mut held: Vec<_> = (0..of_caller).map(|_| places.take(&triage)).collect();
        assert!(held.iter().all(Option::is_some) && places.take(&triage).is_none());
        for number in 0..of_tenant {
            held.push(places.take(&agent("acme", &format!("agent-{number}"))));
        }
        assert!(places.take(&agent("acme", "late")).is_none());
        assert!(places.take(&agent("globex", "triage")).is_some());
        drop(held);
        assert!(places.take(&triage).is_some());
        assert_eq!(places.0.lock().unwrap().len(), 0, "nothing is remembered");
    }
}
