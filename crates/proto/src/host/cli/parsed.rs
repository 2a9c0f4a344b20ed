//! Reads a command line. A word without the name of an option is answered with the options that there are.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Parser};

/// Most options that are named to somebody who wrote none.
const SHOWN_MAX: usize = 8;

/// The command line of this process; a wrong one is told, and ends it with exit code 2. `others` are options that nobody
/// means with a word alone.
#[must_use]
pub fn command_line<T: Parser + CommandFactory>(others: &[&str]) -> T {
    let words: Vec<OsString> = std::env::args_os().collect();
    T::try_parse_from(&words)
        .unwrap_or_else(|error| advised(error, (&T::command(), others), &words).exit())
}

/// The command that the words lead to.
fn reached<'a>(mut command: &'a Command, words: &[OsString]) -> &'a Command {
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        }
    }
    command
}

/// `--execution ID`; options that every command has are not meant.
fn shown(option: &Arg, others: &[&str]) -> Option<String> {
    let other = option.get_long().is_some_and(|name| others.contains(&name));
    let wanted = option.get_action().takes_values() && !option.is_global_set() && !other;
    let name = option
        .get_long()
        .filter(|_| wanted && !option.is_hide_set())?;
    let values = option.get_value_names().unwrap_or_default();
    let value = values.first().map_or("VALUE", |value| value.as_str());
    Some(format!("--{name} {value}"))
}

fn advised(
    mut error: clap::Error,
    (root, others): (&Command, &[&str]),
    words: &[OsString],
) -> clap::Error {
    let stray = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if !word.starts_with('-') => word.clone(),
        _ => return error,
    };
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::Suggested).is_some() {
        return error;
    }
    let command = reached(root, words);
    let options: Vec<String> = command
        .get_arguments()
        .filter_map(|option| shown(option, others))
        .collect();
    let name = command.get_name();
    let tip = if options.is_empty() {
        format!("`{name}` takes nothing more")
    } else {
        let more = if options.len() > SHOWN_MAX {
            ", ..."
        } else {
            ""
        };
        let options: Vec<String> = options.into_iter().take(SHOWN_MAX).collect();
        format!(
            "say what `{stray}` is: `{name}` takes {}{more}",
            options.join(", ")
        )
    };
    error.insert(
        ContextKind::Suggested,
        ContextValue::StyledStrs(vec![tip.into()]),
    );
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    #[command(name = "tool")]
    struct Tool {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(clap::Subcommand, Debug)]
    enum Sub {
        /// Takes back.
        Undo {
            #[arg(long, value_name = "ID")]
            execution: Option<String>,
        },
        /// Takes nothing.
        Ls,
    }

    #[test]
    fn a_word_without_an_option_is_answered_with_the_options() {
        for (words, tip) in [
            (
                ["tool", "undo", "123"],
                "say what `123` is: `undo` takes --execution ID",
            ),
            (["tool", "ls", "123"], "`ls` takes nothing more"),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let error = Tool::try_parse_from(&words).unwrap_err();
            let told = advised(error, (&Tool::command(), &[]), &words).to_string();
            assert!(told.contains(tip), "{told}");
        }
    }

    #[test]
    fn a_misspelt_option_keeps_its_own_tip() {
        let words: Vec<OsString> = ["tool", "undo", "--executon=1"]
            .iter()
            .map(OsString::from)
            .collect();
        let error = Tool::try_parse_from(&words).unwrap_err();
        let told = advised(error, (&Tool::command(), &[]), &words).to_string();
        assert!(
            told.contains("--execution") && !told.contains("say what"),
            "{told}"
        );
    }
}
