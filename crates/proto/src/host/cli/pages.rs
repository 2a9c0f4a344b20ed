//! Completions and manual pages of a command line.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};

/// Writes the completions of a program for a shell to standard output.
pub fn completions(mut command: Command, shell: Shell) {
    let name = command.get_name().to_owned();
    generate(shell, &mut command, name, &mut io::stdout());
}

/// Writes one manual page for a program and each of its subcommands: `policyd-records-ls.1`. How many.
///
/// # Errors
/// When the folder or a page cannot be written.
pub fn manual(command: &Command, folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command.clone(), folder)?;
    let pages = std::fs::read_dir(folder)?.filter_map(Result::ok);
    let is_page = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|e| e == "1");
    Ok(pages.filter(is_page).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let command = Command::new("prog")
            .subcommand(Command::new("a").subcommand(Command::new("b")))
            .subcommand(Command::new("hidden").hide(true));
        assert_eq!(manual(&command, folder.path()).unwrap(), 3);
        for name in ["prog.1", "prog-a.1", "prog-a-b.1"] {
            let page = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(page.contains(".TH"), "{name}");
        }
    }
}
