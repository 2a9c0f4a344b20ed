//! What a form came to, carried through the redirect after it under a seal: nobody can send a link
//! to our own page that says "halted" when nothing is.

use crate::access::seal::SealKey;
use crate::halt::Drill;

/// How long a notice is shown, in milliseconds.
const SHOWN_MS: i64 = 10 * 60 * 1_000;
const PURPOSE: &str = "notice";

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A halt was set.
    Halted,
    /// A halt was ended.
    Resumed,
    /// A device was set up.
    Device,
    /// The last minutes were undone.
    Undone,
}

/// What a form came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// What was done.
    pub done: Done,
    /// How many connectords acknowledged it, or how many records were undone.
    pub answered: usize,
    /// Of how many.
    pub members: usize,
    /// In how many milliseconds.
    pub took_ms: u128,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Whether nobody here knows the name that was typed (it may be one of another connectord), or
    /// whether some writes are left to be undone.
    pub strange: bool,
    /// Of how many writes nobody knows whether they happened.
    pub doubtful: usize,
}

/// A sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whether all is as it should be.
    pub good: bool,
    /// The sentence.
    pub text: String,
}

impl Notice {
    /// What was done, and what the connectords said to it; none if they could not be asked.
    #[must_use]
    pub fn of(done: Done, drill: Option<&Drill>, at_ms: i64) -> Self {
        Self {
            done,
            answered: drill.map_or(0, Drill::answered),
            members: drill.map_or(0, |drill| drill.members.len()),
            took_ms: drill.map_or(0, |drill| drill.took.as_millis()),
            at_ms,
            strange: false,
            doubtful: 0,
        }
    }

    fn text(self) -> String {
        let done = match self.done {
            Done::Halted => "h",
            Done::Resumed => "r",
            Done::Device => "d",
            Done::Undone => "u",
        };
        let Self {
            answered,
            members,
            took_ms,
            at_ms,
            strange,
            doubtful,
            ..
        } = self;
        let strange = u8::from(strange);
        format!("{done}.{answered}.{members}.{took_ms}.{at_ms}.{strange}.{doubtful}")
    }

    /// As it stands in a link.
    #[must_use]
    pub fn sealed(self, key: &SealKey) -> String {
        let text = self.text();
        let seal = key.seal(PURPOSE, &[&text]);
        format!("{text}.{seal}")
    }

    /// Reads one of ours that is young enough.
    #[must_use]
    pub fn open(link: &str, key: &SealKey, now_ms: i64) -> Option<Self> {
        let (text, seal) = link.rsplit_once('.')?;
        if !key.fits(seal, PURPOSE, &[text]) {
            return None;
        }
        let mut parts = text.split('.');
        let done = match parts.next()? {
            "h" => Done::Halted,
            "r" => Done::Resumed,
            "d" => Done::Device,
            "u" => Done::Undone,
            _ => return None,
        };
        let notice = Self {
            done,
            answered: parts.next()?.parse().ok()?,
            members: parts.next()?.parse().ok()?,
            took_ms: parts.next()?.parse().ok()?,
            at_ms: parts.next()?.parse().ok()?,
            strange: parts.next()? == "1",
            doubtful: parts.next()?.parse().ok()?,
        };
        (now_ms.saturating_sub(notice.at_ms) < SHOWN_MS).then_some(notice)
    }

    /// The sentence.
    #[must_use]
    pub fn told(self) -> Told {
        let Self {
            answered,
            members,
            took_ms,
            ..
        } = self;
        let at = chrono::DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default();
        let at = at.format("%H:%M:%S UTC");
        let what = match self.done {
            Done::Device => {
                let text = "This device is set up. Keep this page as a bookmark.".to_owned();
                return Told { good: true, text };
            }
            Done::Undone => return self.told_undone(),
            Done::Halted => "Halted",
            Done::Resumed => "Resumed",
        };
        let mut text = if members == 0 {
            let held = "No connector is running to acknowledge it; it holds when one starts.";
            format!("{what} {at}. {held}")
        } else if answered == members {
            format!("{what} {at}. Acknowledged {answered} of {members} in {took_ms} ms.")
        } else {
            let answers = format!("{answered} of {members} after {took_ms} ms");
            format!("{what} {at}. Acknowledged {answers}; look after the others.")
        };
        if self.strange {
            text.push_str(" Nobody here knows that name: look whether it is spelt right.");
        }
        let good = !self.strange && (members == 0 || answered == members);
        Told { good, text }
    }

    /// How the undo of the last minutes went.
    fn told_undone(self) -> Told {
        let Self {
            answered,
            members,
            took_ms,
            doubtful,
            ..
        } = self;
        let mut text = match (members, doubtful) {
            (0, 0) if self.strange => "Nothing was undone yet.".to_owned(),
            (0, 0) => "Nothing to undo: no write of these minutes stands.".to_owned(),
            _ => format!("Undone {answered} of {members} in {took_ms} ms."),
        };
        let refused = members.saturating_sub(answered);
        if refused > 0 {
            text.push_str(&format!(
                " {refused} not undone; on the machine, connectord undo --dry-run says why."
            ));
        }
        if doubtful > 0 {
            text.push_str(&format!(
                " {doubtful} in doubt: connectord executions ls --in-doubt."
            ));
        }
        if self.strange {
            text.push_str(" The time was up and more is left: undo again, with more minutes.");
        }
        let good = refused == 0 && doubtful == 0 && !self.strange;
        Told { good, text }
    }
}

#[cfg(test)]
mod tests;
