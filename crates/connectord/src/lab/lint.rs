//! `connectord lint`: a system file, and cards that are to use it, without a connection or a credential.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::card::{Card, with_article};

use crate::error::AppError;
use crate::output::Output;
use crate::system::file::{Bound, Object, Verb};

/// Which file, and which cards.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// The system file, such as systems/roundup.toml.
    file: PathBuf,
    /// A card that is to use it; may be given several times.
    #[arg(long = "card", value_name = "FILE")]
    cards: Vec<PathBuf>,
}

/// How long a file may be that is looked at.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

fn text_of(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if length.len() > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// What of a record may be done, each verb with its choices.
fn told(name: &str, object: &Object) -> String {
    let verb = |(name, verb): (&String, &Verb)| {
        format!(
            "{name} (guard {}, once {}, settle {}, undo {})",
            verb.guard.name(),
            verb.once.name(),
            verb.settle.name(),
            verb.undo.name()
        )
    };
    let mut can = Vec::new();
    if object.read.is_some() || object.table.is_some() {
        let count = object.fields.len();
        let fields = if count == 1 { "field" } else { "fields" };
        can.push(format!("read, with {count} {fields}"));
    }
    can.extend(object.find.keys().map(|by| format!("find by {by}")));
    can.extend(object.verbs.iter().map(verb));
    format!("{name}: {}", can.join("; "))
}

/// The card in a file, if the system file can perform it.
fn fitting(bound: &Bound, file: &Path) -> Result<Card, String> {
    let card = Card::parse(&text_of(file)?).map_err(|error| error.to_string())?;
    bound
        .fits(&card)
        .map_err(|error| format!("the card and the system file do not fit: {error}"))?;
    Ok(card)
}

/// Compiles the file, says what it does and what it leaves to chance, and holds the cards against it.
///
/// # Errors
/// None of its own: what is wrong is a line of the output, and exit code 1.
pub(crate) fn run(args: &LintArgs, output: &Output) -> Result<u8, AppError> {
    let say = |word: &str, text: &str| {
        let what = json!({"result": word.to_lowercase(), "what": text});
        output.line(&format!("{word:<5} {text}"), &what);
    };
    let name = args.file.display();
    let compiled = text_of(&args.file)
        .and_then(|text| Bound::compile(&text).map_err(|error| error.to_string()));
    let bound = match compiled {
        Ok(bound) => bound,
        Err(why) => {
            say("FAIL", &format!("{name}: {why}"));
            return Ok(1);
        }
    };
    say("ok", &format!("{name}: the system file `{}`", bound.kind));
    for (name, object) in &bound.objects {
        say("ok", &told(name, object));
    }
    for choice in bound.choices_of_none() {
        say("note", &choice);
    }
    let mut failed = false;
    for file in &args.cards {
        let name = file.display();
        match fitting(&bound, file) {
            Ok(card) => say(
                "ok",
                &format!(
                    "{name}: {} of {} can be performed",
                    card.verb.name(),
                    with_article(&card.target)
                ),
            ),
            Err(why) => {
                say("FAIL", &format!("{name}: {why}"));
                failed = true;
            }
        }
    }
    Ok(u8::from(failed))
}
