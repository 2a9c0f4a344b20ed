//! How often somebody may try to sign in. It bounds resuming only; halting never asks here.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most attempts at one name from one device within the window.
pub const ATTEMPTS_PER_NAME_MAX: usize = 5;
/// Most attempts from one network within the window.
pub const ATTEMPTS_PER_NETWORK_MAX: usize = 20;
/// Most attempts from one device within the window, whatever the names: what it tries is remembered, and the memory is
/// everybody's.
pub const ATTEMPTS_PER_DEVICE_MAX: usize = 20;
/// The window in milliseconds.
pub const WINDOW_MS: i64 = 15 * 60 * 1_000;
/// Most names, devices and networks that are remembered; beyond them nobody signs in.
const REMEMBERED_MAX: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// By the device that it is tried from: who has one of another tenant locks nobody else out.
    Name(String, String),
    Device(String),
    Network(IpAddr),
}

/// The attempts of one process. They count before they are known to fail, so that many at once
/// get no further than one after another.
#[derive(Debug, Default)]
pub struct Attempts {
    times: BTreeMap<Key, Vec<i64>>,
}

impl Attempts {
    /// Counts an attempt, or refuses it.
    #[must_use]
    pub fn admit(&mut self, (device, name): (&str, &str), network: IpAddr, now_ms: i64) -> bool {
        let begin = now_ms.saturating_sub(WINDOW_MS);
        self.times.retain(|_, times| {
            times.retain(|time| *time > begin);
            !times.is_empty()
        });
        let keys = [
            (
                Key::Name(device.to_owned(), name.to_owned()),
                ATTEMPTS_PER_NAME_MAX,
            ),
            (Key::Device(device.to_owned()), ATTEMPTS_PER_DEVICE_MAX),
            (Key::Network(network), ATTEMPTS_PER_NETWORK_MAX),
        ];
        let made = |key: &Key| self.times.get(key).map_or(0, Vec::len);
        let full = self.times.len() >= REMEMBERED_MAX;
        if full || keys.iter().any(|(key, max)| made(key) >= *max) {
            return false;
        }
        for (key, _) in keys {
            self.times.entry(key).or_default().push(now_ms);
        }
        true
    }

    /// The password was right: earlier mistakes at this name are forgotten. Those of the network
    /// are not, or one who has a password could guess at others without end.
    pub fn succeeded(&mut self, device: &str, name: &str) {
        let key = Key::Name(device.to_owned(), name.to_owned());
        self.times.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_name_is_tried_five_times_in_a_window() {
        let mut attempts = Attempts::default();
        for time in 0..5 {
            assert!(attempts.admit(("phone", "ben"), at(time), i64::from(time)));
        }
        assert!(!attempts.admit(("phone", "ben"), at(9), 5), "from wherever");
        assert!(attempts.admit(("phone", "ada"), at(9), 5), "another name");
        assert!(
            attempts.admit(("phone", "ben"), at(9), WINDOW_MS),
            "the first is out of the window"
        );
        assert!(
            attempts.admit(("phone of globex", "ben"), at(9), 6),
            "whom another device tries is not locked out"
        );
        attempts.succeeded("phone", "ben");
        assert!(attempts.admit(("phone", "ben"), at(9), WINDOW_MS));
    }

    #[test]
    fn a_network_tries_twenty_times_whatever_the_names_and_successes() {
        let mut attempts = Attempts::default();
        for time in 0..20 {
            let name = format!("name-{time}");
            assert!(attempts.admit(("phone", &name), at(1), time));
            attempts.succeeded("phone", &name);
        }
        assert!(!attempts.admit(("phone of ada", "ben"), at(1), 20));
        assert!(attempts.admit(("phone of ada", "ben"), at(2), 20));
    }

    #[test]
    fn a_device_tries_twenty_times_whatever_the_names_and_networks() {
        let mut attempts = Attempts::default();
        for number in 0..20 {
            let name = format!("name-{number}");
            assert!(attempts.admit(("phone", &name), at(number), 0));
        }
        let before = attempts.times.len();
        assert!(!attempts.admit(("phone", "ben"), at(99), 1));
        assert_eq!(
            attempts.times.len(),
            before,
            "what is refused is not remembered"
        );
        assert!(attempts.admit(("phone of ada", "ben"), at(99), 1));
    }

    #[test]
    fn the_memory_is_bounded_and_full_means_no() {
        let mut attempts = Attempts::default();
        for number in 0..u32::try_from(REMEMBERED_MAX).unwrap() {
            let addr = IpAddr::from(number.to_be_bytes());
            let phone = format!("phone-{}", number / 20);
            let _counted = attempts.admit((&phone, &format!("n-{number}")), addr, 0);
        }
        assert!(attempts.times.len() <= REMEMBERED_MAX + 2);
        assert!(!attempts.admit(("phone", "ben"), at(1), 1));
        assert!(attempts.admit(("phone", "ben"), at(1), WINDOW_MS + 1));
    }
}
