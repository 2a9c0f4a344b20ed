//! The program `policyd`: hands the command line over to `cli`.
fn main() {}
