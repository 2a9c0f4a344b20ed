//! The cases of every verb: reads and ids, what an answer means, lost and late answers, retries.

use std::time::Duration;

use serde_json::json;
use writ_proto::Reason;
use writ_proto::token::Mode;

use crate::domain::execution::{Execution, State};
use crate::error::AppError;
use crate::lab::conform::answer::ELSEWHERE;
use crate::lab::conform::denials::{denied, worn};
use crate::lab::conform::way::{Fault, Moment};
use crate::lab::conform::world::{PATIENCE, SETTLE_AFTER, TIMEOUT, World, told};
use crate::lab::conform::{Table, Verdict, fields};
use crate::output::Output;
use crate::system::Wanted;
use crate::system::file::{Driver, Settle};

pub(crate) type Tried = Result<Verdict, AppError>;

pub(crate) const NO_HTTP: &str = "the driver is no HTTP, so there are no such answers";
pub(crate) const JSON: &str = "application/json";

/// Where a doubt must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Done,
    NotDone,
}

pub(crate) async fn run(world: &World, table: &mut Table, output: Output) {
    reads(world, table, output).await;
    answers(world, table, output).await;
    lost(world, table, output).await;
    fields::run(world, table, output).await;
}

pub(crate) const fn is_http(world: &World) -> bool {
    matches!(world.bound.driver, Driver::Http | Driver::Remote)
}

async fn reads(world: &World, table: &mut Table, output: Output) {
    table.add(output, "the credential works (probe)", probe(world).await);
    table.add(
        output,
        "every declared field is read",
        read_all(world).await,
    );
    table.add(output, "a declared field is absent", absent(world).await);
    table.add(output, "an id that no record has", unknown(world).await);
    table.add(
        output,
        "the answer shows another id (alias)",
        alias(world).await,
    );
    table.add(
        output,
        "ids that lead elsewhere (.., encoded)",
        odd_ids(world).await,
    );
    table.add(
        output,
        "a dry run builds the bytes of the live run",
        bytes(world).await,
    );
}

async fn probe(world: &World) -> Tried {
    let system = world
        .ours
        .app
        .system(world.ours.tenant(), world.card.connection.as_str());
    Ok(match system?.probe().await {
        Ok(_) => Verdict::holds(),
        Err(error) => Verdict::Fails(error.to_string()),
    })
}

async fn read_all(world: &World) -> Tried {
    let (object, _) = world.said()?;
    let is_read = object.read.is_some() || object.table.is_some();
    if !is_read || !world.card.verb.has_record() {
        return Ok(Verdict::NotHere("such a record is never read"));
    }
    let wanted = Wanted {
        written: object.fields.keys().cloned().collect(),
        seen: Vec::new(),
    };
    let system = world
        .other
        .app
        .system(world.ours.tenant(), world.card.connection.as_str())?;
    let read = system.read(&world.target.0, &world.target.1, &wanted).await;
    Ok(match read {
        Ok(image) => Verdict::Holds(format!("{} fields", image.fields.iter().count())),
        Err(error) => Verdict::Fails(error.to_string()),
    })
}

/// A call that must be refused with this code, without any write on the way.
async fn refused(world: &World, reason: Reason) -> Tried {
    let done = world.ours.execute(&world.args).await?;
    let wrote = world.way.held().writes.len();
    let good = done.state == State::Failed && done.reason_code == reason.code() && wrote == 0;
    Ok(Verdict::when(good, told(&done)))
}

async fn absent(world: &World) -> Tried {
    let (object, _) = world.said()?;
    let named = world.card.args.values().map(|arg| &arg.field);
    let must = named
        .filter_map(|name| object.fields.get(name))
        .find(|field| field.must_be_there());
    let Some(field) = must.filter(|_| is_http(world) && world.card.verb.names_fields()) else {
        return Ok(Verdict::NotHere("no written field must be there"));
    };
    world
        .begin(Fault::ReadLacks(field.at().to_owned()), Moment::Never)
        .await?;
    refused(world, Reason::FieldUnreadable).await
}

async fn unknown(world: &World) -> Tried {
    if !world.card.verb.has_record() {
        return Ok(Verdict::NotHere("the verb has no record"));
    }
    world.way.set(Fault::None, Moment::Never);
    let asked = world
        .ours
        .ask(&world.args, Mode::Execute, Some(&world.missing))?;
    let done = world.ours.present(&asked).await?;
    let good = done.reason_code == Reason::TargetNotFound.code() && !done.wrote;
    Ok(Verdict::when(good, told(&done)))
}

async fn alias(world: &World) -> Tried {
    let (object, _) = world.said()?;
    let Some(at) = object
        .id_at
        .clone()
        .filter(|_| world.card.verb.has_record())
    else {
        return Ok(Verdict::NotHere("no answer shows the record's own id"));
    };
    let fault = Fault::ReadShows(at, json!(world.missing));
    world.begin(fault, Moment::Never).await?;
    refused(world, Reason::TargetMismatch).await
}

async fn odd_ids(world: &World) -> Tried {
    if !world.card.verb.has_record() {
        return Ok(Verdict::NotHere("the verb has no record"));
    }
    for id in ["..", ".", "%2e%2e", "a/../b", "a/b", "a?b", "a#b", "a%2fb"] {
        world.way.set(Fault::None, Moment::Never);
        let asked = world.ours.ask(&world.args, Mode::Execute, Some(id))?;
        let done = world.ours.present(&asked).await;
        let wrote = done.as_ref().is_ok_and(|done| done.wrote);
        let calls = world.way.held().writes.len();
        if wrote || calls > 0 {
            return Ok(Verdict::Fails(format!("`{id}` was written")));
        }
    }
    Ok(Verdict::holds())
}

/// What an earlier step brings is not known in a dry run.
fn ends_alike(would: &str, body: &str) -> bool {
    would.contains("{step.") || would.ends_with(body)
}

async fn bytes(world: &World) -> Tried {
    if !is_http(world) {
        return Ok(Verdict::Holds("the same statement, rolled back".to_owned()));
    }
    world.begin(Fault::None, Moment::Never).await?;
    let dry = world.ours.rehearse(&world.args).await?;
    let live = world.ours.execute(&world.args).await?;
    let sent = world.way.held().writes.clone();
    let plain = |text: &str, of: &Execution| text.replace(&of.key, "KEY");
    let same = dry.requests.iter().zip(&sent).all(|(would, (line, body))| {
        let would = plain(would, &dry);
        // "PATCH /path?query [its headers] body"; the path goes on from that of the base URL.
        let mut words = would.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let line = plain(line, &live);
        line.starts_with(method) && line.ends_with(path) && ends_alike(&would, &plain(body, &live))
    });
    let good = same && !sent.is_empty() && (sent.len() == dry.requests.len());
    Ok(Verdict::when(good, (&dry.requests, &sent, told(&live))))
}

async fn answers(world: &World, table: &mut Table, output: Output) {
    table.add(output, "a write is done and proven", done(world).await);
    table.add(output, "the same call again", again(world).await);
    table.add(
        output,
        "the same request id for another call",
        reused(world).await,
    );
    let instead: [(&str, u16, &'static str, &str); 6] = [
        (
            "200 that says no",
            200,
            JSON,
            r#"{"success":false,"errors":["no"]}"#,
        ),
        (
            "200 with a page of HTML",
            200,
            "text/html",
            "<html>Request Rejected</html>",
        ),
        ("200 with nothing", 200, JSON, ""),
        ("200 with null", 200, JSON, "null"),
        ("202, taken for later", 202, JSON, r#"{"job":1}"#),
        (
            "502 of a proxy",
            502,
            "text/html",
            "<html>Bad gateway</html>",
        ),
    ];
    for (case, status, media, body) in instead {
        let fault = Fault::Instead(status, media, body.to_owned());
        table.add(output, case, http_doubt(world, fault, Ends::NotDone).await);
    }
    for status in [408, 409, 500, 503] {
        let case = format!("{status} after it was done");
        let tried = http_doubt(world, Fault::DoneBut(status), Ends::Done).await;
        table.add(output, &case, tried);
    }
    table.add(output, "412 after it was done", stale_but_done(world).await);
    for (case, wait) in [("429 with a time", Some(7)), ("429 without", None)] {
        table.add(output, case, limited(world, wait).await);
    }
    table.add(output, "the token expires in the middle", worn(world).await);
    for (case, status) in [("401 on the write", 401), ("403 on the write", 403)] {
        table.add(output, case, denied(world, status).await);
    }
    table.add(output, "a redirect", redirect(world).await);
    table.add(output, "the second step fails", second(world).await);
    table.add(output, "more than the record has left", over(world).await);
    let doctor = "connectord doctor says it";
    table.add(output, "a weak credential", Ok(Verdict::NotHere(doctor)));
}

/// A write that must be done and shown by the record.
pub(crate) async fn written(world: &World) -> Result<Execution, AppError> {
    let done = world.ours.execute(&world.args).await?;
    if done.state == State::Done && done.wrote {
        return Ok(done);
    }
    Err(crate::lab::conform::fail(told(&done)))
}

async fn done(world: &World) -> Tried {
    world.begin(Fault::None, Moment::Never).await?;
    let done = written(world).await?;
    if world.fields().is_some() && !world.shows(&world.args).await? {
        return Ok(Verdict::Fails(format!(
            "the record does not show it: {}",
            told(&done)
        )));
    }
    Ok(Verdict::Holds(match done.unprotected_ms {
        0 => String::new(),
        span => format!("{span} ms in which the system refuses no edit"),
    }))
}

async fn again(world: &World) -> Tried {
    world.begin(Fault::None, Moment::Never).await?;
    let asked = world.ours.ask(&world.args, Mode::Execute, None)?;
    let first = world.ours.present(&asked).await?;
    let passed = world.way.held().passed;
    let second = world.ours.present(&asked).await?;
    let good = first.wrote && first.id == second.id && world.way.held().passed == passed;
    Ok(Verdict::when(good, (told(&first), told(&second))))
}

async fn reused(world: &World) -> Tried {
    world.begin(Fault::None, Moment::Never).await?;
    let first = world.ours.ask(&world.args, Mode::Execute, None)?;
    world.ours.present(&first).await?;
    let passed = world.way.held().passed;
    let mut other = world.ours.ask(&world.args, Mode::DryRun, None)?;
    other.call.request_id = first.call.request_id;
    other.call.mode = Mode::Execute;
    let refused = world.ours.present(&other).await;
    let good = refused.is_err() && world.way.held().passed == passed;
    Ok(Verdict::when(good, refused.map(|done| told(&done))))
}

pub(crate) async fn http_doubt(world: &World, fault: Fault, ends: Ends) -> Tried {
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    doubt(world, fault, ends).await
}

/// A write of which nobody knows, which must end so; or be left to a person where the file has no way
/// to tell.
async fn doubt(world: &World, fault: Fault, ends: Ends) -> Tried {
    let lasts = matches!(fault, Fault::Lag(_) | Fault::Unfiltered);
    world.begin(fault, Moment::Never).await?;
    let doubt = world.ours.execute(&world.args).await?;
    if doubt.state != State::InDoubt {
        return Ok(Verdict::Fails(format!("not in doubt: {}", told(&doubt))));
    }
    if !lasts {
        world.way.set(Fault::None, Moment::Never);
    }
    let ended = world.ours.settled(&doubt.id, PATIENCE).await?;
    ended_well(world, &ended, ends).await
}

pub(crate) async fn ended_well(world: &World, ended: &Execution, ends: Ends) -> Tried {
    let (_, verb) = world.said()?;
    let tells = match &verb.settle {
        Settle::Find(_) | Settle::Key => true,
        Settle::AfterImage(ours) => ends == Ends::NotDone || !ours.is_empty(),
        Settle::None => false,
    };
    let wanted = match ends {
        Ends::Done => State::ReconciledApplied,
        Ends::NotDone => State::ReconciledNotApplied,
    };
    if ended.state == State::InDoubt && !tells {
        return Ok(Verdict::Holds(
            "left to a person: the file has no way to tell".to_owned(),
        ));
    }
    if ended.state != wanted {
        return Ok(Verdict::Fails(told(ended)));
    }
    if let Some((from, _)) = world.fields() {
        let stands = match ends {
            Ends::Done => world.shows(&world.args).await?,
            Ends::NotDone => world.shows(from).await?,
        };
        return Ok(Verdict::when(stands, "the record shows something else"));
    }
    Ok(Verdict::holds())
}

async fn stale_but_done(world: &World) -> Tried {
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    doubt(world, Fault::DoneBut(412), Ends::Done).await
}

async fn limited(world: &World, wait: Option<u32>) -> Tried {
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    world.begin_first(Fault::Limits(wait)).await?;
    let done = world.ours.execute(&world.args).await?;
    let told_time = wait.is_none_or(|wait| done.message.contains(&format!("wait {wait} s")));
    let good = done.reason_code == Reason::SystemRateLimited.code() && !done.wrote && told_time;
    Ok(Verdict::when(good, told(&done)))
}

async fn redirect(world: &World) -> Tried {
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    world.begin(Fault::Redirects, Moment::Never).await?;
    let done = world.ours.execute(&world.args).await?;
    let followed = world
        .way
        .held()
        .lines
        .iter()
        .any(|line| line.contains(ELSEWHERE));
    Ok(Verdict::when(!followed && !done.wrote, told(&done)))
}

async fn second(world: &World) -> Tried {
    let (_, verb) = world.said()?;
    if verb.steps.len() < 2 {
        return Ok(Verdict::NotHere("the verb has one step"));
    }
    let body = r#"{"message":"no"}"#.to_owned();
    world
        .begin(Fault::Instead(422, JSON, body), Moment::Never)
        .await?;
    let done = world.ours.execute(&world.args).await?;
    let good = done.state == State::InDoubt && !done.wrote;
    Ok(Verdict::when(good, told(&done)))
}

async fn over(world: &World) -> Tried {
    let Some(over) = &world.over else {
        return Ok(Verdict::NotHere("no --over was given"));
    };
    world.begin(Fault::None, Moment::Never).await?;
    let done = world.ours.execute(over).await?;
    let (_, verb) = world.said()?;
    let holds_it = verb.prepare.iter().any(|prepare| prepare.ceiling.is_some());
    if !holds_it && done.reason_code == Reason::SystemRefused.code() {
        let why = "the system refuses it itself; the file has no ceiling";
        return Ok(Verdict::Holds(why.to_owned()));
    }
    let wrote = world.way.held().passed;
    let good = done.reason_code == Reason::BudgetExceeded.code() && wrote == 0;
    Ok(Verdict::when(good, told(&done)))
}

async fn lost(world: &World, table: &mut Table, output: Output) {
    let before = doubt_or_not_done(world).await;
    table.add(output, "the answer is lost, nothing was done", before);
    let after = doubt(world, Fault::LostAfter, Ends::Done).await;
    table.add(output, "the answer is lost, it was done", after);
    let late = Fault::Late(SETTLE_AFTER / 2);
    table.add(
        output,
        "it is done late, within settle_after",
        doubt(world, late, Ends::Done).await,
    );
    let slow = Fault::Slow(TIMEOUT + Duration::from_secs(1));
    let slow = http_doubt(world, slow, Ends::Done).await;
    table.add(output, "an answer that comes too late", slow);
    let big = http_doubt(world, Fault::Oversized, Ends::Done).await;
    table.add(output, "an answer of 1.5 MiB", big);
    let searches = world
        .said()
        .is_ok_and(|(_, verb)| matches!(verb.settle, Settle::Find(_)));
    let no_search = "a doubt of this verb is not settled by a search";
    let (unfiltered, lag) = if searches {
        (
            unfiltered(world).await,
            doubt(world, Fault::Lag(1), Ends::Done).await,
        )
    } else {
        (
            Ok(Verdict::NotHere(no_search)),
            Ok(Verdict::NotHere(no_search)),
        )
    };
    table.add(output, "a search that ignores its filter", unfiltered);
    table.add(output, "a search that lags", lag);
}

/// Nothing was done, and what the search shows is not ours: nobody may believe that it was.
async fn unfiltered(world: &World) -> Tried {
    world.begin(Fault::Unfiltered, Moment::Never).await?;
    let doubt = world.ours.execute(&world.args).await?;
    let ended = world.ours.settled(&doubt.id, SETTLE_AFTER * 3).await?;
    Ok(match ended.state {
        State::ReconciledNotApplied => Verdict::holds(),
        State::InDoubt => Verdict::Holds("left to a person: the list may be a part".to_owned()),
        _ => Verdict::Fails(told(&ended)),
    })
}

/// A database that never saw COMMIT has done nothing, and may say so at once.
async fn doubt_or_not_done(world: &World) -> Tried {
    doubt(world, Fault::LostBefore, Ends::NotDone).await
}
