//! This connectord's entry in the roster of its halt store, and its answers to drills.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::SharedApp;
use crate::clock;
use crate::halt::{HaltError, HaltState, HaltStore, Member, Probe};

const PERIOD: Duration = Duration::from_millis(50);
/// An entry that nothing changed is written this often.
const FRESH: Duration = Duration::from_secs(1);

/// Answers until the process ends.
pub async fn answer(app: SharedApp) {
    let mut member = Member {
        instance: app.instance.clone(),
        host: crate::halt::host(),
        pid: std::process::id(),
        ..Member::default()
    };
    let mut written: Option<(Instant, Member)> = None;
    let mut failing = false;
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let told = round(&app, &mut member, &mut written).await;
        if let Err(error) = &told
            && !failing
        {
            tracing::warn!(%error, "this connectord cannot answer drills");
        }
        failing = told.is_err();
    }
}

async fn round(
    app: &SharedApp,
    member: &mut Member,
    written: &mut Option<(Instant, Member)>,
) -> Result<(), HaltError> {
    let (probe, state) = asked(&app.halts).await?;
    describe(app, member, state.as_ref(), probe);
    let same = written
        .as_ref()
        .is_some_and(|(at, before)| before == member && at.elapsed() < FRESH);
    if same {
        return Ok(());
    }
    let entry = Member {
        seen_ms: clock::now().timestamp_millis(),
        ..member.clone()
    };
    app.halts.enroll(&entry).await?;
    *written = Some((Instant::now(), member.clone()));
    Ok(())
}

/// The latest question, and the state if it is known. The question first: an answer says that the state was read
/// after it, and not kept from before.
async fn asked(halts: &HaltStore) -> Result<(Option<Probe>, Option<HaltState>), HaltError> {
    let probe = halts.asked().await?;
    Ok((probe, halts.look(clock::now().timestamp()).ok()))
}

fn describe(app: &SharedApp, member: &mut Member, state: Option<&HaltState>, probe: Option<Probe>) {
    let before = (member.known, member.generation, member.flags);
    member.known = state.is_some();
    if let Some(state) = state {
        (member.epoch, member.generation) = (state.epoch, state.generation);
        member.flags = state.flags.len();
    }
    if before != (member.known, member.generation, member.flags) {
        app.work.mark();
    }
    // The same text asked again is another question.
    let is_new = |probe: &Probe| probe.nonce != member.nonce || probe.at_ms > member.asked_ms;
    if let Some(probe) = probe.filter(is_new) {
        (member.nonce, member.asked_ms) = (probe.nonce, probe.at_ms);
        member.answered_ms = clock::now().timestamp_millis();
    }
    if let Some(last) = app.work.last() {
        (member.last_write_ms, member.last_action) = (last.at_ms, last.action);
    }
    (member.open, member.finished) = app.work.flight();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::halt::{Act, Flag, Place, Scope};

    #[tokio::test]
    async fn an_answer_tells_what_was_looked_at_after_the_question() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("global");
        let written = |until| {
            let flag = Flag {
                until,
                ..Flag::new(Scope::global(), &Act::default(), "one")
            };
            std::fs::write(&path, serde_json::to_string(&flag).unwrap()).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        };
        written(1);
        let place = Place::Folder(folder.path().to_owned());
        let halts = HaltStore::open(&place).await.unwrap();
        let read = || halts.read(clock::now().timestamp()).unwrap();
        let began = Instant::now();
        while !Arc::ptr_eq(&read(), &read()) {
            assert!(began.elapsed() < Duration::from_secs(10), "nothing is kept");
            std::thread::yield_now();
        }
        // Into the file that is there, which shows in no folder.
        written(i64::MAX);
        let (_, state) = asked(&halts).await.unwrap();
        assert_eq!(state.unwrap().flags.len(), 1);
    }
}
