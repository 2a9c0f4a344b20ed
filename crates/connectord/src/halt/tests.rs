//! What every store does, on the folder of flag files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::*;

const NOW: i64 = 1_700_000_000;

fn act(at: i64) -> Act {
    Act {
        by: "acme/ada".into(),
        reason: "drill".into(),
        at,
    }
}

fn flag(scope: &str, at: i64) -> Flag {
    Flag::new(scope.parse().unwrap(), &act(at), format!("{scope}-{at}"))
}

fn call(tenant: &'static str) -> Subject<'static> {
    Subject {
        tenant,
        connection: "crm/main",
        action: "refund",
        agent: "triage",
        run: "r-1",
        customer: Customer::NotYet,
    }
}

fn store(folder: &Path) -> HaltStore {
    HaltStore::Files(Files::new(folder.to_owned()))
}

/// When a file made now was made, in Unix seconds.
fn made(path: &Path) -> i64 {
    let time = std::fs::metadata(path).unwrap().modified().unwrap();
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn a_touched_file_halts_and_removing_it_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(*store.read(NOW).unwrap(), HaltState::default());
    let path = folder.path().join("tenant:acme");
    std::fs::write(&path, "").unwrap();
    let state = store.read(NOW).unwrap();
    let covering = state.covering(&call("acme")).unwrap();
    assert_eq!(covering.scope.to_string(), "tenant:acme");
    assert_eq!((covering.since, covering.until), (made(&path), 0));
    assert_eq!(state.covering(&call("globex")), None);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(store.read(NOW).unwrap().covering(&call("acme")), None);
}

#[tokio::test]
async fn every_scope_round_trips_through_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for scope in [
        "tenant:a",
        "connection:crm/main",
        "action:x",
        "agent:a/b c",
        "customer:Ä%",
        "tenant:acme/run:r-1",
    ] {
        let flag = flag(scope, NOW);
        assert_eq!(
            store.set(&flag).await.unwrap().flags,
            std::slice::from_ref(&flag),
            "{scope}"
        );
        let (state, cleared) = store.clear(&flag.scope, &act(NOW)).await.unwrap();
        assert_eq!((state.flags.len(), cleared), (0, Some(flag)), "{scope}");
    }
    assert_eq!(store.cleared().await.unwrap().len(), 6);
    let none = store.clear(&Scope::global(), &act(NOW)).await.unwrap().1;
    assert_eq!(none, None, "what is not set cannot be cleared");
    // The name of a file decides, whatever is in it.
    let text = serde_json::to_string(&flag("tenant:a", NOW)).unwrap();
    std::fs::write(folder.path().join("global"), text).unwrap();
    assert!(store.read(NOW).unwrap().flags[0].scope.is_global());
}

#[tokio::test]
async fn a_halt_is_never_ended_by_a_shorter_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    // Later than the clock of the file system.
    let end = 4_000_000_000;
    let until = |seconds: i64| Flag {
        until: end + seconds,
        ..flag("tenant:acme", NOW)
    };
    let ends = async |flag: &Flag| store.set(flag).await.unwrap().flags[0].until;
    assert_eq!(ends(&until(60)).await, end + 60);
    assert_eq!(ends(&until(9)).await, end + 60);
    assert_eq!(ends(&until(90)).await, end + 90);
    assert_eq!(ends(&flag("tenant:acme", NOW)).await, 0, "until looked at");
    assert_eq!(ends(&until(9)).await, 0);
}

#[tokio::test]
async fn a_halt_that_is_set_while_an_earlier_one_ends_stands() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let store = store(folder.path());
        store.set(&flag("tenant:acme", NOW)).await.unwrap();
        let (scope, ending) = (flag("tenant:acme", NOW).scope, act(NOW));
        let end = store.clear(&scope, &ending);
        let again = Flag {
            id: format!("again-{round}"),
            ..flag("tenant:acme", NOW + 1)
        };
        let (_, set) = tokio::join!(end, store.set(&again));
        set.unwrap();
        let state = store.read(NOW + 1).unwrap();
        let stands = state.flags.iter().any(|flag| flag.scope == scope);
        // It may have ended after it was set, which is on record then; never without a trace.
        let cleared = store.cleared().await.unwrap();
        let traced = cleared.iter().any(|one| one.flag.id == again.id);
        assert!(stands || traced, "round {round}: gone without a trace");
    }
}

#[tokio::test]
async fn a_halt_that_is_set_while_somebody_waits_to_end_an_earlier_one_stands() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(store(folder.path()));
    store.set(&flag("tenant:acme", NOW)).await.unwrap();
    let busy = std::fs::File::open(folder.path().join(".lock")).unwrap();
    busy.lock().unwrap();
    let waits = Arc::clone(&store);
    let scope = flag("tenant:acme", NOW).scope;
    let seen = store.read(NOW).ok();
    let ends = async move { waits.clear_standing(&scope, &act(NOW), seen).await };
    let ends = tokio::spawn(ends);
    // It waits for the folder.
    tokio::task::yield_now().await;
    let again = Flag {
        id: "again".into(),
        ..flag("tenant:acme", NOW + 1)
    };
    let text = serde_json::to_string(&again).unwrap();
    let fresh = folder.path().join(".by-hand");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, folder.path().join(text::file_name("tenant:acme"))).unwrap();
    drop(busy);
    let (state, ended) = ends.await.unwrap().unwrap();
    assert_eq!((ended, state.flags.len()), (None, 1));
    assert_eq!(state.flags[0].id, "again");
}

#[tokio::test]
async fn a_halt_that_was_not_seen_is_told_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let seen = store.read(NOW).ok();
    assert!(seen.is_some());
    let late = flag("tenant:acme", NOW + 1);
    store.set(&late).await.unwrap();
    let (state, ended) = store
        .clear_standing(&late.scope, &act(NOW + 1), seen)
        .await
        .unwrap();
    assert_eq!((ended, state.flags), (None, vec![late]));
}

#[tokio::test]
async fn a_file_that_is_of_no_halt_halts_everything_and_says_which_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let copy = serde_json::to_string(&flag("tenant:acme", NOW)).unwrap();
    for (name, text) in [("notes.txt", "for tomorrow"), ("acme old", copy.as_str())] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let state = store.read(NOW).unwrap();
        assert_eq!(state.flags[0].scope, Scope::global());
        let reason = &state.flags[0].reason;
        assert!(reason.contains(name), "{reason}");
        // Whoever ends that halt removes nothing of anybody's.
        let ended = store.clear(&Scope::global(), &act(NOW)).await.unwrap();
        assert!(ended.1.is_some() && ended.0.flags.is_empty() && !path.exists());
        let away = std::fs::read_dir(folder.path().join(".cleared")).unwrap();
        let mut away = away.map(|entry| entry.unwrap().path());
        let is_it = |path: &PathBuf| {
            let own = path.file_name().unwrap().to_str().unwrap();
            own.starts_with(&format!("{name}.stray-"))
        };
        assert_eq!(
            std::fs::read_to_string(away.find(is_it).unwrap()).unwrap(),
            text
        );
    }
}

#[tokio::test]
async fn a_global_halt_raises_the_epoch_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(store.set(&flag("global", NOW)).await.unwrap().epoch, 1);
    let cleared = store.clear(&Scope::global(), &act(NOW)).await.unwrap();
    assert_eq!(cleared.0.epoch, 1);
    assert_eq!(store.set(&flag("global", NOW + 1)).await.unwrap().epoch, 2);
    assert_eq!(store.set(&flag("agent:x", NOW + 1)).await.unwrap().epoch, 2);
}

#[tokio::test]
async fn a_halt_kills_the_writs_of_its_scope_that_were_issued_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store
        .set(&flag("tenant:acme/agent:triage", NOW))
        .await
        .unwrap();
    let scope = "tenant:acme/agent:triage".parse().unwrap();
    let (state, _) = store.clear(&scope, &act(NOW + 5)).await.unwrap();
    let at = NOW * 1_000 + 999;
    assert_eq!(state.revoking(&call("acme"), at), Some(&scope));
    assert_eq!(state.revoking(&call("acme"), at + 1), None);
    assert_eq!(state.revoking(&call("globex"), at), None);
}

#[tokio::test]
async fn a_flag_made_by_hand_kills_the_writs_before_it_too_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (store(folder.path()), store(folder.path()));
    let path = folder.path().join("global");
    std::fs::write(&path, "").unwrap();
    let since = made(&path);
    one.tend(since).await.unwrap();
    other.tend(since).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let state = one.read(since).unwrap();
    assert_eq!(state.epoch, 1);
    assert!(state.revoking(&call("acme"), since * 1_000).is_some());
}

#[tokio::test]
async fn an_expired_halt_ends_by_itself_and_is_put_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let until = made(folder.path()) + 100;
    let short = Flag {
        until,
        ..flag("tenant:acme", until - 60)
    };
    store.set(&short).await.unwrap();
    store.tend(until - 1).await.unwrap();
    assert_eq!(
        store.read(until - 1).unwrap().flags,
        std::slice::from_ref(&short)
    );
    assert!(store.read(until).unwrap().flags.is_empty());
    assert!(store.cleared().await.unwrap().is_empty());
    store.tend(until).await.unwrap();
    let told = store.cleared().await.unwrap();
    assert_eq!((&told[0].flag, told[0].act.at), (&short, until));
    assert!(!folder.path().join("tenant:acme").exists());
}

#[tokio::test]
async fn a_flag_that_was_touched_after_its_end_was_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    // It was to end long before its file was written: as if it had been touched since.
    let old = Flag {
        until: NOW,
        ..flag("tenant:acme", NOW - 60)
    };
    store.set(&old).await.unwrap();
    store.tend(NOW + 60).await.unwrap();
    let state = store.read(NOW + 60).unwrap();
    assert!(state.covering(&call("acme")).is_some());
    assert_eq!(state.flags[0].until, 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    assert!(store(&folder.path().join("absent")).read(NOW).is_err());
    let store = store(folder.path());
    for wrong in [
        "nonsense",
        "",
        "1 2 3",
        "-1",
        "1 2\nnonsense",
        "1\n5 planet:earth",
    ] {
        std::fs::write(folder.path().join("epoch"), wrong).unwrap();
        assert!(store.read(NOW).is_err(), "{wrong:?}");
    }
    std::fs::remove_file(folder.path().join("epoch")).unwrap();
    std::fs::write(folder.path().join("misspelt"), "").unwrap();
    assert!(store.read(NOW).unwrap().flags[0].scope.is_global());
    // Who ends the halt of everything ends it too.
    store.clear(&Scope::global(), &act(NOW)).await.unwrap();
    assert!(store.read(NOW).unwrap().flags.is_empty());
    let strange = OsStr::from_bytes(b"tenant:\xff");
    std::fs::write(folder.path().join(strange), "").unwrap();
    assert!(store.read(NOW).is_err(), "a name that is no text");
}

#[tokio::test]
async fn an_epoch_that_goes_back_is_not_known_until_somebody_arms() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.set(&flag("global", NOW)).await.unwrap();
    store.clear(&Scope::global(), &act(NOW)).await.unwrap();
    std::fs::remove_file(folder.path().join("epoch")).unwrap();
    assert!(store.read(NOW).is_err());
    let armed = store.arm(&act(NOW)).await.unwrap();
    assert!(armed.epoch > 1 && store.read(NOW).is_ok());
}

#[tokio::test]
async fn too_many_recent_halts_raise_the_epoch_instead_of_being_forgotten() {
    let mut mark = Mark::default();
    for number in 0..=RECENT_MAX {
        let scope = format!("run:{number}").parse().unwrap();
        mark.count(&scope, NOW * 1_000, NOW);
        mark.count(&scope, NOW * 1_000, NOW);
    }
    assert_eq!((mark.epoch, mark.recent.len()), (1, RECENT_MAX / 2 + 1));
    let mut mark = Mark::default();
    for number in 0..10 * RECENT_MAX {
        let scope = format!("tenant:acme/customer:{number}").parse().unwrap();
        mark.count(&scope, NOW * 1_000, NOW);
    }
    assert_eq!(mark.epoch, 0, "one tenant costs the others nothing");
    assert!(mark.knows(&"tenant:acme".parse().unwrap(), NOW * 1_000));
    let mut mark = Mark::default();
    for number in 0..=RECENT_MAX {
        mark.count(&format!("run:{number}").parse().unwrap(), NOW * 1_000, NOW);
    }
    mark.count(
        &"run:late".parse().unwrap(),
        NOW - WRIT_SECONDS_MAX - 1,
        NOW,
    );
    assert!(
        !mark.knows(&"run:late".parse().unwrap(), 0),
        "no writ is that old"
    );
}

fn member(instance: &str, seen_ms: i64) -> Member {
    Member {
        instance: instance.into(),
        host: "elsewhere".into(),
        seen_ms,
        ..Member::default()
    }
}

#[tokio::test]
async fn a_roster_leaves_out_who_is_gone_and_keeps_who_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let now = NOW * 1_000;
    let here = Member {
        host: host(),
        pid: u32::MAX,
        ..member("died-here", now - roster::SILENT_MS - 1)
    };
    for member in [
        member("b", now - 30_000),
        member("a/../x", now),
        member("gone", now - GONE_MS - 1),
        here,
    ] {
        store.enroll(&member).await.unwrap();
    }
    let names = |members: Vec<Member>| -> Vec<String> {
        members.into_iter().map(|member| member.instance).collect()
    };
    assert_eq!(names(store.roster(now).await.unwrap()), ["a/../x", "b"]);
    store.leave("b").await.unwrap();
    assert_eq!(names(store.roster(now).await.unwrap()), ["a/../x"]);
    assert!(
        store.read(NOW).unwrap().flags.is_empty(),
        "entries are no flags"
    );
}

const fn clock() -> i64 {
    NOW * 1_000
}

#[tokio::test]
async fn a_drill_is_complete_only_if_everybody_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let none = store.drill("7f3a", clock, Duration::ZERO).await.unwrap();
    assert!(!none.complete(), "nobody is not everybody");
    store.enroll(&member("a", clock())).await.unwrap();
    let silent = store.drill("7f3b", clock, Duration::ZERO).await.unwrap();
    assert_eq!((silent.answered(), silent.members.len()), (0, 1));
    let answering = async {
        loop {
            let asked = store.asked().await.unwrap().unwrap();
            if asked.nonce == "7f3c" {
                let answer = Member {
                    nonce: asked.nonce,
                    asked_ms: asked.at_ms,
                    ..member("a", clock())
                };
                return store.enroll(&answer).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let (drill, ()) = tokio::join!(
        store.drill("7f3c", clock, Duration::from_secs(20)),
        answering
    );
    assert!(drill.unwrap().complete());
}

#[test]
fn a_halt_that_is_set_while_the_folder_is_read_is_no_step_back() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path().to_owned());
    let (setter, over) = (files.clone(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100 {
                let scope = format!("tenant:acme/run:r-{number}");
                setter.set(&flag(&scope, NOW)).unwrap();
            }
            over.store(true, std::sync::atomic::Ordering::Release);
        });
        while !over.load(std::sync::atomic::Ordering::Acquire) {
            files.read(NOW).unwrap();
        }
    });
    assert_eq!(files.read(NOW).unwrap().flags.len(), 100);
}
