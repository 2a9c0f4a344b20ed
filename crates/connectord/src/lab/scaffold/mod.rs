//! `connectord scaffold`: the draft of a system file and of a card, from a description in OpenAPI.

mod card;
mod openapi;
mod page;
mod shape;
mod system;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::ids::{ActionName, ConnectionId};

use crate::error::AppError;
use crate::output::{Output, plural};
use crate::system::file::Bound;
use openapi::Document;
use page::{Page, snake};

/// How long a description may be, in bytes.
const FILE_BYTES_MAX: u64 = 32 * 1_024 * 1_024;
/// Most fields of one card.
const FIELDS_MAX: usize = 32;

/// From which description, and what of it.
#[derive(Debug, Args)]
pub(crate) struct ScaffoldArgs {
    /// The description: OpenAPI 3 in JSON.
    #[arg(long, value_name = "FILE")]
    openapi: PathBuf,
    /// The path of a record, with the record in braces, such as /deals/{id}; other parameters are given their value.
    #[arg(long)]
    path: String,
    /// The fields that an agent may set, by the names of the vendor.
    #[arg(long, value_delimiter = ',', required = true)]
    fields: Vec<String>,
    /// The connection, as cards name it; the system file is named after its first part.
    #[arg(long, default_value = "crm/main")]
    connection: String,
    /// What a record is called; after the path if absent.
    #[arg(long)]
    object: Option<String>,
    /// The name of the action; `set_FIELD` or `update_OBJECT` if absent.
    #[arg(long)]
    action: Option<String>,
    /// The folder for both files.
    #[arg(long, value_name = "DIR", default_value = "scaffold")]
    out: PathBuf,
}

fn malformed(message: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, message)
}

/// What a record is called, after the last part of its path that is no parameter: `/deals/{id}` is of a `deal`.
fn object_of(path: &str) -> String {
    let literal = path
        .split('/')
        .rfind(|part| !part.is_empty() && !part.starts_with('{'));
    let name = snake(literal.unwrap_or_default());
    match name.strip_suffix('s') {
        Some(one) if !one.is_empty() && !one.ends_with('s') => one.to_owned(),
        _ => name,
    }
}

fn text_of(file: &Path) -> Result<String, AppError> {
    let wrong = |why: &dyn core::fmt::Display| malformed(format!("{}: {why}", file.display()));
    let length = std::fs::metadata(file)
        .map_err(|error| wrong(&error))?
        .len();
    if length > FILE_BYTES_MAX {
        return Err(wrong(&format_args!("more than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(file).map_err(|error| wrong(&error))
}

/// Writes a file that is not there yet.
fn write(file: &Path, text: &str) -> Result<(), AppError> {
    let wrong = |error: std::io::Error| {
        let error = malformed(format!("{}: {error}", file.display()));
        error.with_fix("--out names another folder; nothing that is there is replaced")
    };
    let mut made = std::fs::File::create_new(file).map_err(wrong)?;
    made.write_all(text.as_bytes()).map_err(wrong)
}

/// What is wrong with the drafts by the rules of the product.
fn flaw(system: &str, card: &str) -> Option<String> {
    let bound = match Bound::compile(system) {
        Ok(bound) => bound,
        Err(error) => return Some(error.to_string()),
    };
    let fits = Card::parse(card).map_err(|error| error.to_string());
    fits.and_then(|card| bound.fits(&card).map_err(|error| error.to_string()))
        .err()
}

struct Drafts {
    system: (PathBuf, Page),
    card: (PathBuf, Page),
}

const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn drafts(args: &ScaffoldArgs) -> Result<Drafts, AppError> {
    // They stand in queries and pointers as they are.
    let is_name = |name: &String| !name.is_empty() && name.chars().all(is_plain);
    if args.fields.len() > FIELDS_MAX || !args.fields.iter().all(is_name) {
        return Err(malformed(format!(
            "--fields: 1 to {FIELDS_MAX} names of letters, digits, `_`, `-` and `.`, with commas between them"
        )));
    }
    let connection =
        ConnectionId::parse(&args.connection).map_err(|error| malformed(error.to_string()))?;
    let kind = connection.as_str().split('/').next().unwrap_or_default();
    let of_file = |why: String| malformed(format!("{}: {why}", args.openapi.display()));
    let document = Document::parse(&text_of(&args.openapi)?).map_err(of_file)?;
    let found = document.find(&args.path).map_err(of_file)?;
    let object = args
        .object
        .clone()
        .unwrap_or_else(|| object_of(&found.path));
    if ActionName::parse(&object).is_err() {
        let message = format!("`{object}` is no name of a record (a-z 0-9 _): say --object");
        return Err(malformed(message));
    }
    let source = args
        .openapi
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let source: String = source.chars().filter(|c| !c.is_control()).collect();
    let wanted = system::Wanted {
        kind,
        object: &object,
        fields: &args.fields,
        source: &source,
    };
    let draft = system::draft(&document, &found, &wanted).map_err(of_file)?;
    let name = args
        .action
        .clone()
        .unwrap_or_else(|| match draft.fields.as_slice() {
            [one] => format!("set_{}", one.name),
            _ => format!("update_{object}"),
        });
    let name =
        ActionName::parse(&name).map_err(|error| malformed(format!("{error}: say --action")))?;
    if name.as_str() == kind {
        return Err(malformed(format!(
            "both files would be {kind}.toml: say --action"
        )));
    }
    let card = card::draft((name.as_str(), connection.as_str(), &object), &draft.fields);
    Ok(Drafts {
        system: (args.out.join(format!("{kind}.toml")), draft.page),
        card: (args.out.join(format!("{}.toml", name.as_str())), card),
    })
}

/// Drafts both files and says what a person decides in them.
///
/// # Errors
/// What the description does not say, or a file that is there already.
pub(crate) fn run(args: &ScaffoldArgs, output: &Output) -> Result<u8, AppError> {
    let drafts = drafts(args)?;
    let (system, card) = (drafts.system.1.text(), drafts.card.1.text());
    if let Some(why) = flaw(&system, &card) {
        let error = malformed(format!(
            "what this description gives does not hold, so nothing was written: {why}"
        ));
        return Err(error.with_fix("write both files by hand: docs/systems.md, \"The file\""));
    }
    if let Some(file) = [&drafts.system.0, &drafts.card.0]
        .into_iter()
        .find(|file| file.exists())
    {
        let error = malformed(format!("{} is there already", file.display()));
        return Err(error.with_fix("--out names another folder; nothing that is there is replaced"));
    }
    std::fs::create_dir_all(&args.out)
        .map_err(|error| malformed(format!("{}: {error}", args.out.display())))?;
    write(&drafts.system.0, &system)?;
    write(&drafts.card.0, &card)?;
    for (what, (file, page)) in [("system file", &drafts.system), ("card", &drafts.card)] {
        let (name, marked) = (file.display(), page.marked());
        let told = format!(
            "{name}: the {what}, with {} to decide",
            plural(marked.len(), "line")
        );
        output.line(
            &format!("{:<7} {told}", "wrote"),
            &json!({"result": "wrote", "what": told, "file": file}),
        );
        for (line, decide) in marked {
            let told = format!("{name}:{line}: {decide}");
            let value = json!({"result": "decide", "what": decide, "file": file, "line": line});
            output.line(&format!("{:<7} {told}", "decide"), &value);
        }
    }
    let told = format!(
        "the system file goes into systems/, the card into policies/TENANT/actions/; then connectord lint {} --card {}",
        drafts.system.0.display(),
        drafts.card.0.display()
    );
    output.line(
        &format!("{:<7} {told}", "next"),
        &json!({"result": "next", "what": told}),
    );
    Ok(0)
}

#[cfg(test)]
mod tests;
