//! What the halt page says, from what is known: pure, so that every case is a line of a table.

use chrono::{DateTime, Utc};

use super::Names;
use crate::access::{Device, Reach};
use crate::halt::{Flag, HaltState, Member, Part, Scope};

/// Most halts on one page; the rest is on the next one, so that no page grows beyond 10 KB.
pub const FLAGS_SHOWN_MAX: usize = 6;
/// Most names offered where one is typed.
const NAMES_SHOWN_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 40;
const TEXT_CHARS_MAX: usize = 72;
/// A connectord that says nothing for so long does not answer.
const SILENT_MS: i64 = 3_000;

/// What is known when a page is made.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The halts; none if they cannot be read.
    pub state: Option<&'a HaltState>,
    /// Every connectord of the store; none if they cannot be read.
    pub members: Option<&'a [Member]>,
    /// When every one of `members` answered the last check, in Unix milliseconds; none if it was
    /// too long ago or not everybody did.
    pub checked_ms: Option<i64>,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// The device that looks.
#[derive(Debug)]
pub struct DeviceView {
    /// Its name.
    pub name: String,
    /// The one tenant that it may halt; none if it may halt everything.
    pub tenant: Option<String>,
    /// What the large button says; none where that is halted already.
    pub all: Option<String>,
    /// Seal of its forms.
    pub seal: String,
}

/// A halt.
#[derive(Debug)]
pub struct FlagView {
    /// The scope for people.
    pub label: String,
    /// Since when, by whom, why.
    pub about: String,
    /// Where it is resumed.
    pub resume: String,
}

/// The page.
#[derive(Debug)]
pub struct View {
    /// RUNNING, HALTED or UNKNOWN.
    pub word: &'static str,
    /// Class of the head.
    pub tone: &'static str,
    /// A sign beside the word.
    pub sign: &'static str,
    /// Lines below the word.
    pub headline: Vec<String>,
    /// How many connectords answer.
    pub answer: String,
    /// Whether every one does.
    pub all_answer: bool,
    /// Executions in flight.
    pub in_flight: Option<String>,
    /// The last write.
    pub last_write: Option<String>,
    /// When this was so.
    pub as_of: String,
    /// Whether the halts are known.
    pub known: bool,
    /// Halts on this page.
    pub flags: Vec<FlagView>,
    /// The next page of halts.
    pub next: Option<String>,
    /// How many halts are on the next pages.
    pub more: usize,
    /// Names offered where one is typed.
    pub names: Vec<String>,
    /// Whether the page can undo.
    pub undo: bool,
    /// Who looks; none if the device is not set up.
    pub device: Option<DeviceView>,
}

/// A scope for people.
#[must_use]
pub fn label(scope: &Scope) -> String {
    let of = scope
        .tenant()
        .map(|tenant| format!(" of {}", tenant.as_str()));
    let of = of.unwrap_or_default();
    match scope.part() {
        Part::All => scope.tenant().map_or_else(
            || "Everything".to_owned(),
            |tenant| format!("Everything of tenant {}", tenant.as_str()),
        ),
        Part::Connection(name) => format!("Connection {name}{of}"),
        Part::Action(name) => format!("Action {name}{of}"),
        Part::Agent(name) => format!("Agent {name}{of}"),
        Part::Customer(name) => format!("Customer {name}{of}"),
        Part::Run(name) => format!("Run {name}{of}"),
    }
}

/// A text of somebody else, short enough for a line.
fn short(text: &str) -> String {
    let mut short: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(TEXT_CHARS_MAX)
        .collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Since when, by whom and why.
#[must_use]
pub fn about(flag: &Flag, now_ms: i64) -> String {
    let mut text = match flag.since {
        0 => "since an unknown time".to_owned(),
        since => format!("since {}", moment(since, now_ms)),
    };
    match flag.by.as_str() {
        "" => text.push_str(", set by hand"),
        by => text.push_str(&format!(", by {}", short(by))),
    }
    if !flag.reason.trim().is_empty() {
        text.push_str(&format!(": {}", short(flag.reason.trim())));
    }
    text
}

fn moment(seconds: i64, now_ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    let today = at.date_naive() == now.date_naive();
    let form = if today {
        "%H:%M:%S UTC"
    } else {
        "%Y-%m-%d %H:%M UTC"
    };
    at.format(form).to_string()
}

/// A length of time for people, to a tenth of a second while it is short.
fn ago(ms: i64) -> String {
    let ms = ms.max(0);
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

fn answers(seen: &Seen<'_>) -> (String, bool) {
    let Some(members) = seen.members else {
        return ("nobody can tell which connectors run".to_owned(), false);
    };
    let total = members.len();
    if total == 0 {
        return ("none is running".to_owned(), false);
    }
    if let Some(at) = seen.checked_ms {
        let text = ago(seen.now_ms.saturating_sub(at));
        return (
            format!("{total} of {total} answered a fresh check {text} ago"),
            true,
        );
    }
    let fresh =
        |member: &&Member| member.known && seen.now_ms.saturating_sub(member.seen_ms) <= SILENT_MS;
    let count = members.iter().filter(fresh).count();
    let last = members
        .iter()
        .map(|member| member.seen_ms)
        .min()
        .unwrap_or(0);
    let text = ago(seen.now_ms.saturating_sub(last));
    (
        format!("{count} of {total} read the halts, last heard {text} ago"),
        count == total,
    )
}

fn flight(members: &[Member]) -> Option<String> {
    let sum = |of: fn(&Member) -> u32| {
        members
            .iter()
            .map(|member| u64::from(of(member)))
            .sum::<u64>()
    };
    let (open, finished) = (sum(|member| member.open), sum(|member| member.finished));
    let ended = match finished {
        0 => String::new(),
        _ => format!(", {finished} finished since the last change"),
    };
    (!members.is_empty()).then(|| format!("{open} open{ended}"))
}

fn last_write(members: &[Member], now_ms: i64) -> Option<String> {
    let last = members.iter().max_by_key(|member| member.last_write_ms)?;
    if last.last_write_ms == 0 {
        return None;
    }
    let text = ago(now_ms.saturating_sub(last.last_write_ms));
    Some(format!("{text} ago ({})", short(&last.last_action)))
}

/// The names that fit a device, to choose from.
fn names(known: &Names, reach: &Reach) -> Vec<String> {
    let own = |tenant: &String| reach.only().is_none_or(|only| only.as_str() == tenant);
    let mut all: Vec<String> = Vec::new();
    if reach.only().is_none() {
        all.extend(known.tenants.iter().cloned());
    }
    all.extend(known.connections.iter().cloned());
    all.extend(
        known
            .actions
            .iter()
            .filter(|(tenant, _)| own(tenant))
            .map(|(_, name)| name.clone()),
    );
    all.retain(|name| name.chars().count() <= NAME_CHARS_MAX);
    all.sort();
    all.dedup();
    all.truncate(NAMES_SHOWN_MAX);
    all
}

/// The halt of the whole that a device looks after: of everything, or of its tenant.
fn whole<'a>(flags: &[&'a Flag], reach: &Reach) -> Option<&'a Flag> {
    let is_whole = |flag: &&&Flag| {
        let tenant = flag.scope.tenant();
        *flag.scope.part() == Part::All && (tenant.is_none() || tenant == reach.only())
    };
    flags.iter().find(is_whole).copied()
}

impl View {
    /// The page for a device, or for somebody who has none: he reads the word and nothing else.
    #[must_use]
    pub fn of(
        seen: &Seen<'_>,
        device: Option<(&Device, String)>,
        known: &Names,
        from: usize,
    ) -> Self {
        let reach = device
            .as_ref()
            .map_or(Reach::GLOBAL, |(device, _)| device.reach.clone());
        let flags: Vec<&Flag> = seen.state.map_or_else(Vec::new, |state| {
            state
                .flags
                .iter()
                .filter(|flag| reach.sees(&flag.scope))
                .collect()
        });
        let whole = whole(&flags, &reach);
        let (word, tone, sign) = match (seen.state, whole) {
            (None, _) => ("UNKNOWN", "unknown", "?"),
            (_, Some(_)) => ("HALTED", "halted", ""),
            _ => ("RUNNING", "running", ""),
        };
        let mut view = Self {
            word,
            tone,
            sign,
            headline: Vec::new(),
            answer: String::new(),
            all_answer: true,
            in_flight: None,
            last_write: None,
            as_of: moment(seen.now_ms / 1_000, seen.now_ms),
            known: seen.state.is_some(),
            flags: Vec::new(),
            next: None,
            more: 0,
            names: Vec::new(),
            undo: false,
            device: None,
        };
        if seen.state.is_none() {
            let text = "The halt state cannot be read. Every connector that cannot read it refuses writes.";
            view.headline.push(text.to_owned());
        }
        if let Some((device, seal)) = device {
            view.tell(seen, (&flags, whole), from);
            view.names = names(known, &reach);
            view.device = Some(Self::looks(device, seal, view.known && whole.is_none()));
        }
        view
    }

    /// What only a device reads.
    fn tell(&mut self, seen: &Seen<'_>, (flags, whole): (&[&Flag], Option<&Flag>), from: usize) {
        if let Some(flag) = whole {
            self.headline.push(about(flag, seen.now_ms));
        } else if !flags.is_empty() {
            let parts = if flags.len() == 1 {
                "1 part is"
            } else {
                "some parts are"
            };
            self.tone = "partly";
            self.headline.push(format!("but {parts} halted, see below"));
        }
        (self.answer, self.all_answer) = answers(seen);
        let members = seen.members.unwrap_or_default();
        self.in_flight = flight(members);
        self.last_write = last_write(members, seen.now_ms);
        let from = if from < flags.len() { from } else { 0 };
        let until = from.saturating_add(FLAGS_SHOWN_MAX);
        self.more = flags.len().saturating_sub(until);
        self.next = (self.more > 0).then(|| format!("/halt?from={until}"));
        let shown = flags.iter().skip(from).take(FLAGS_SHOWN_MAX);
        self.flags = shown.map(|flag| Self::flag(flag, seen.now_ms)).collect();
    }

    fn flag(flag: &Flag, now_ms: i64) -> FlagView {
        let scope = flag.scope.to_string();
        FlagView {
            label: short(&label(&flag.scope)),
            about: about(flag, now_ms),
            resume: format!("/halt/resume?scope={}", encoded(&scope)),
        }
    }

    fn looks(device: &Device, seal: String, can_halt: bool) -> DeviceView {
        let tenant = device.reach.only().map(|tenant| tenant.as_str().to_owned());
        let all = tenant.as_ref().map_or_else(
            || "HALT EVERYTHING".to_owned(),
            |tenant| format!("HALT ALL OF {tenant}"),
        );
        DeviceView {
            name: device.name.clone(),
            all: can_halt.then_some(all),
            tenant,
            seal,
        }
    }
}

/// A text as a value in a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
