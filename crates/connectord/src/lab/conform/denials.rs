//! Cases of a credential, or of a token, that the system does not take.

use writ_proto::Reason;

use crate::credentials::auth::Auth;
use crate::lab::conform::Verdict;
use crate::lab::conform::cases::{JSON, NO_HTTP, Tried, is_http};
use crate::lab::conform::way::{Fault, Moment};
use crate::lab::conform::world::{World, told};
use crate::system::file::Verb;

/// An answer with this status, whatever is sent.
pub(crate) async fn denied(world: &World, status: u16) -> Tried {
    if !is_http(world) {
        return Ok(Verdict::NotHere(NO_HTTP));
    }
    let body = r#"{"message":"no"}"#.to_owned();
    let fault = Fault::Instead(status, JSON, body);
    world.begin(fault, Moment::Never).await?;
    // Each of them: a token that is not taken is asked for anew, once.
    world.way.held().at = 0;
    let done = world.ours.execute(&world.args).await?;
    let good = done.reason_code == Reason::SystemDenied.code() && !done.wrote;
    Ok(Verdict::when(good, told(&done)))
}

/// A write whose token is not taken is made once with the next one; one that was compared right before is
/// not made at all.
pub(crate) async fn worn(world: &World) -> Tried {
    let Auth::OAuth2(_) = world.bound.auth else {
        let whole = "auth of this file is no OAuth: there is no token that expires";
        return Ok(Verdict::NotHere(whole));
    };
    let body = r#"{"message":"no"}"#.to_owned();
    world.begin_first(Fault::Instead(401, JSON, body)).await?;
    let done = world.ours.execute(&world.args).await?;
    let passed = world.way.held().passed;
    let object = world.bound.objects.get(&world.target.0);
    let verb = object.and_then(|object| object.verbs.get(world.card.verb.name()));
    let good = if verb.is_some_and(Verb::compares) {
        done.reason_code == Reason::SystemDenied.code() && !done.wrote && passed == 0
    } else {
        done.wrote && passed == 1
    };
    Ok(Verdict::when(good, told(&done)))
}
