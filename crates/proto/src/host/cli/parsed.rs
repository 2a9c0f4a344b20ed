//! Reads a command line. A word without the name of an option is answered with the options that there are.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Parser};

/// Most options that are named to somebody who wrote none.
const SHOWN_MAX: usize = 8;

/// How many letters may differ in what is taken for a slip.
const NEAR: usize = 2;

/// What a command line may be mistaken for.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Options of commands that call a daemon: nobody means them with a word alone.
    pub reaches: &'a [&'a str],
    /// The other program, and its commands.
    pub other: (&'a str, &'a [&'a str]),
    /// Words that are looked for in the wrong place, and the whole command that is meant.
    pub meant: &'a [(&'a str, &'a str)],
}

/// The command line of this process; a wrong one is told, and ends it with exit code 2.
#[must_use]
pub fn command_line<T: Parser + CommandFactory>(beside: &Beside<'_>) -> T {
    let words: Vec<OsString> = std::env::args_os().collect();
    T::try_parse_from(&words)
        .unwrap_or_else(|error| advised(error, (&T::command(), beside), &words).exit())
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

/// Puts a tip of ours in the place of the one that spelling suggests.
fn tipped(mut error: clap::Error, tip: String) -> clap::Error {
    error.remove(ContextKind::SuggestedSubcommand);
    error.remove(ContextKind::SuggestedArg);
    let tip = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tip);
    error
}

/// What is said of an option that a command does not have. clap suggests also what is hardly alike.
fn of_option(
    error: clap::Error,
    (root, command): (&Command, &Command),
    (option, reaches): (&str, &[&str]),
) -> clap::Error {
    let name = command.get_name();
    let is_near = match error.get(ContextKind::SuggestedArg) {
        // It is spelt well, and belongs to another command.
        _ if reaches.contains(&option) => false,
        Some(ContextValue::String(near)) => {
            strsim::osa_distance(near.trim_start_matches('-'), option) <= NEAR
        }
        _ => false,
    };
    if is_near {
        return error;
    }
    let inner = command.get_subcommands().map(Command::get_name);
    let inner: Vec<&str> = inner.filter(|inner| *inner != "help").collect();
    let tip = if !inner.is_empty() && name != root.get_name() {
        let (first, _) = inner.split_at(inner.len().min(SHOWN_MAX));
        format!("say which command of `{name}` it is: {}", first.join(", "))
    } else {
        format!("`{name}` takes no --{option}; see {name} --help")
    };
    tipped(error, tip)
}

fn advised(
    error: clap::Error,
    (root, beside): (&Command, &Beside<'_>),
    words: &[OsString],
) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some((_, meant)) = beside.meant.iter().find(|(known, _)| known == word)
    {
        return tipped(error, format!("the command is {meant}"));
    }
    let (other, theirs) = beside.other;
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && theirs.contains(&word.as_str())
    {
        let tip = format!("it is a command of {other}: {other} {word}");
        return tipped(error, tip);
    }
    let stray = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => return error,
    };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    if let Some(option) = stray.strip_prefix("--") {
        let option = option.split(['=', ' ']).next().unwrap_or_default();
        let option = (option, beside.reaches);
        return of_option(error, (root, reached(root, words)), option);
    }
    if stray.starts_with('-') || error.get(ContextKind::Suggested).is_some() {
        return error;
    }
    let command = reached(root, words);
    let options: Vec<String> = command
        .get_arguments()
        .filter_map(|option| shown(option, beside.reaches))
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
    tipped(error, tip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BESIDE: Beside<'_> = Beside {
        reaches: &["cert"],
        other: ("hammer", &["list"]),
        meant: &[("promote", "hammer actions promote")],
    };

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
        /// Holds another.
        #[command(subcommand)]
        Group(Group),
    }

    #[derive(clap::Subcommand, Debug)]
    enum Group {
        /// Takes nothing.
        Inner,
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
            let told = advised(error, (&Tool::command(), &BESIDE), &words).to_string();
            assert!(told.contains(tip), "{told}");
        }
    }

    #[test]
    fn what_belongs_to_another_program_or_command_is_said_to() {
        for (words, tip) in [
            (
                vec!["tool", "list"],
                "it is a command of hammer: hammer list",
            ),
            (
                vec!["tool", "ls", "--cert", "a"],
                "`ls` takes no --cert; see ls --help",
            ),
            (
                vec!["tool", "group", "--cert", "a"],
                "say which command of `group` it is: inner",
            ),
            (
                vec!["tool", "promote"],
                "the command is hammer actions promote",
            ),
            (
                vec!["tool", "undo", "--exit", "a"],
                "`undo` takes no --exit; see undo --help",
            ),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let error = Tool::try_parse_from(&words).unwrap_err();
            let told = advised(error, (&Tool::command(), &BESIDE), &words).to_string();
            assert!(told.contains(tip), "{told}");
            assert_eq!(told.matches("tip:").count(), 1, "{told}");
        }
    }

    #[test]
    fn a_misspelt_option_keeps_its_own_tip() {
        let words: Vec<OsString> = ["tool", "undo", "--executon=1"]
            .iter()
            .map(OsString::from)
            .collect();
        let error = Tool::try_parse_from(&words).unwrap_err();
        let told = advised(error, (&Tool::command(), &BESIDE), &words).to_string();
        assert!(
            told.contains("--execution") && !told.contains("say what"),
            "{told}"
        );
    }
}
