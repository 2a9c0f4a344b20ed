//! The cases of verbs that write fields of a record: what the record shows, edits of others, and undo.

use serde_json::json;
use writ_proto::Reason;

use crate::app::undo::Undone;
use crate::domain::execution::{Proof, State};
use crate::error::AppError;
use crate::lab::conform::cases::{Ends, NO_HTTP, ended_well, is_http, written};
use crate::lab::conform::way::{Fault, Moment};
use crate::lab::conform::world::{PATIENCE, World, told};
use crate::lab::conform::{Table, Verdict};
use crate::output::Output;
use crate::system::file::{Guard, UndoBy};

type Tried = Result<Verdict, AppError>;

const NO_FIELDS: &str = "the verb writes no fields, or --from and --edit are not given";
const NO_UNDO: &str = "the system file says undo = \"none\"";

pub(crate) async fn run(world: &World, table: &mut Table, output: Output) {
    let silently = pretends(world).await;
    table.add(output, "200, and nothing was taken over", silently);
    table.add(
        output,
        "the system writes another spelling",
        normalised(world).await,
    );
    table.add(
        output,
        "an edit between look and write",
        edit_before(world).await,
    );
    table.add(
        output,
        "an edit between write and read-back",
        edit_after(world).await,
    );
    table.add(output, "undo", undo(world).await);
    table.add(output, "undo after an edit", undo_after_edit(world).await);
    table.add(
        output,
        "undo that the system refuses",
        undo_refused(world).await,
    );
    table.add(output, "undo whose answer is lost", undo_lost(world).await);
}

/// What the file says about undo of this verb.
fn undoes(world: &World) -> bool {
    world
        .said()
        .is_ok_and(|(_, verb)| verb.undo == UndoBy::Restore)
}

async fn pretends(world: &World) -> Tried {
    let Some((from, _)) = world.fields() else {
        return Ok(Verdict::NotHere(NO_FIELDS));
    };
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    // One that is answered as the system answers, to repeat.
    world.begin(Fault::None, Moment::Never).await?;
    written(world).await?;
    world.begin(Fault::Pretends, Moment::Never).await?;
    let done = world.ours.execute(&world.args).await?;
    let stands = world.shows(from).await?;
    if done.state == State::InDoubt {
        world.way.set(Fault::None, Moment::Never);
        let ended = world.ours.settled(&done.id, PATIENCE).await?;
        return ended_well(world, &ended, Ends::NotDone).await;
    }
    let good = done.reason_code == Reason::NotTaken.code() && !done.wrote && stands;
    Ok(Verdict::when(good, told(&done)))
}

async fn normalised(world: &World) -> Tried {
    if world.fields().is_none() {
        return Ok(Verdict::NotHere(NO_FIELDS));
    }
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    let (object, _) = world.said()?;
    let written = world
        .card
        .args
        .iter()
        .filter(|(name, _)| world.args.get(name).is_some());
    let mut fields = written.filter_map(|(_, arg)| object.fields.get(&arg.field));
    let field = fields.next();
    let at = field.map_or("", |field| field.at());
    let fault = Fault::ReadShowsAfter(at.to_owned(), json!("Another Spelling"));
    world.begin(fault, Moment::Never).await?;
    let done = world.ours.execute(&world.args).await?;
    let seen = done.state == State::Done && done.proof == Proof::SeenOther;
    // A value that the codec does not know cannot be read back: a doubt is right too.
    Ok(Verdict::when(
        seen || done.state == State::InDoubt,
        told(&done),
    ))
}

async fn edit_before(world: &World) -> Tried {
    let Some((_, edit)) = world.fields() else {
        return Ok(Verdict::NotHere(NO_FIELDS));
    };
    if world.said()?.1.guard == Guard::Commutative {
        return Ok(Verdict::NotHere("the guard is commutative"));
    }
    world.begin(Fault::None, Moment::AfterLook).await?;
    let done = world.execute_beside(edit).await?;
    let stands = world.shows(edit).await?;
    let good = done.reason_code == Reason::PreconditionFailed.code() && stands && !done.wrote;
    Ok(Verdict::when(good, (told(&done), stands)))
}

async fn edit_after(world: &World) -> Tried {
    let Some((_, edit)) = world.fields() else {
        return Ok(Verdict::NotHere(NO_FIELDS));
    };
    world.begin(Fault::None, Moment::AfterWrite).await?;
    let done = world.execute_beside(edit).await?;
    if done.state != State::Done || done.proof != Proof::SeenOther {
        return Ok(Verdict::Fails(told(&done)));
    }
    if !undoes(world) {
        return Ok(Verdict::holds());
    }
    let undone = world.ours.undo(&done.id).await?;
    let stands = world.shows(edit).await?;
    Ok(Verdict::when(!undone.undone && stands, why(&undone)))
}

fn why(undone: &Undone) -> String {
    let refusal = undone.refusal.as_ref();
    let refusal = refusal.map(|refusal| format!("{} {}", refusal.reason, refusal.detail));
    refusal.unwrap_or_else(|| "undone".to_owned())
}

async fn undo(world: &World) -> Tried {
    world.begin(Fault::None, Moment::Never).await?;
    let done = written(world).await?;
    let undone = world.ours.undo(&done.id).await?;
    if !undoes(world) {
        let refused = undone.refusal.as_ref();
        let good = refused.is_some_and(|refusal| refusal.reason == Reason::UndoImpossible);
        return Ok(if good {
            Verdict::Holds(format!("refused: {NO_UNDO}"))
        } else {
            Verdict::Fails(why(&undone))
        });
    }
    let Some((from, _)) = world.fields() else {
        return Ok(Verdict::NotHere(NO_FIELDS));
    };
    let stands = world.shows(from).await?;
    Ok(Verdict::when(undone.undone && stands, why(&undone)))
}

async fn undo_after_edit(world: &World) -> Tried {
    let Some((_, edit)) = world.fields().filter(|_| undoes(world)) else {
        return Ok(Verdict::NotHere(NO_UNDO));
    };
    world.begin(Fault::None, Moment::Never).await?;
    let done = written(world).await?;
    world.put(edit).await?;
    let undone = world.ours.undo(&done.id).await?;
    let refused = undone.refusal.as_ref();
    let drift = refused.is_some_and(|refusal| refusal.reason == Reason::PreconditionFailed);
    let stands = world.shows(edit).await?;
    Ok(Verdict::when(drift && stands, why(&undone)))
}

async fn undo_refused(world: &World) -> Tried {
    let Some((from, _)) = world.fields().filter(|_| undoes(world)) else {
        return Ok(Verdict::NotHere(NO_UNDO));
    };
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    world.begin(Fault::None, Moment::Never).await?;
    let done = written(world).await?;
    let body = r#"{"message":"closed"}"#.to_owned();
    world
        .way
        .set(Fault::Instead(422, "application/json", body), Moment::Never);
    let refused = world.ours.undo(&done.id).await?;
    if refused.undone || !world.shows(&world.args).await? {
        return Ok(Verdict::Fails(why(&refused)));
    }
    world.way.set(Fault::None, Moment::Never);
    if refused
        .refusal
        .is_some_and(|refusal| refusal.reason == Reason::OutcomeUnknown)
    {
        return Ok(Verdict::Holds(
            "in doubt: the file does not say that 422 is a no".to_owned(),
        ));
    }
    let undone = world.ours.undo(&done.id).await?;
    let stands = world.shows(from).await?;
    Ok(Verdict::when(undone.undone && stands, why(&undone)))
}

async fn undo_lost(world: &World) -> Tried {
    let Some((from, _)) = world.fields().filter(|_| undoes(world)) else {
        return Ok(Verdict::NotHere(NO_UNDO));
    };
    world.begin(Fault::None, Moment::Never).await?;
    let done = written(world).await?;
    world.way.set(Fault::LostAfter, Moment::Never);
    let lost = world.ours.undo(&done.id).await?;
    let doubt = lost.refusal.as_ref();
    if doubt.is_none_or(|refusal| refusal.reason != Reason::OutcomeUnknown) {
        return Ok(Verdict::Fails(why(&lost)));
    }
    world.way.set(Fault::None, Moment::Never);
    let journal = &world.ours.app.journal;
    let target = journal.execution(&done.tenant, &done.id).await?;
    let own = target.and_then(|target| target.undo_attempts.last().cloned());
    let Some(own) = own else {
        return Ok(Verdict::Fails("the undo was not journaled".to_owned()));
    };
    let ended = world.ours.settled(&own.execution, PATIENCE).await?;
    let stands = world.shows(from).await?;
    Ok(match ended.state {
        State::ReconciledApplied => Verdict::when(stands, told(&ended)),
        State::InDoubt => {
            Verdict::Holds("left to a person: the file has no way to tell".to_owned())
        }
        _ => Verdict::Fails(told(&ended)),
    })
}
