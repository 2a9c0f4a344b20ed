//! Connectords of a world: the first one and those beside it.

use std::path::Path;

use crate::{Process, World, program, store_flag};

impl World {
    /// One more connectord beside the first, over the same database.
    pub fn replica(&self, port: u16) -> Process {
        self.replica_with(port, &[])
    }

    /// The same with other values of its configuration.
    pub fn replica_with(&self, port: u16, overrides: &[String]) -> Process {
        let flags = overrides.iter().map(String::as_str);
        self.connectord_on(("replica", port), &program("connectord"), &[], flags)
    }

    /// The value of `--set` that names the connections of this world.
    fn connection_flag(&self) -> String {
        let crm = format!("http://127.0.0.1:{}", self.sandbox_port);
        let mut all = vec![("crm/main", "sandbox", crm)];
        all.extend_from_slice(&self.connections);
        let all = all.iter().map(|(name, system, base)| {
            let plugin = self.plugins.iter().find(|(of, _)| of == name);
            let plugin = plugin.map_or_else(String::new, |(_, socket)| format!(", plugin=\"{}\"", socket.display()));
            let accepted = self.accepted.iter().find(|(of, _)| of == name);
            let accepted = accepted.map_or_else(String::new, |(_, scopes)| format!(", accept_scopes={scopes}"));
            format!("{{name=\"{name}\", system=\"{system}\", base_url=\"{base}\", tenants=[\"acme\", \"globex\"]{plugin}{accepted}}}")
        });
        format!("connection=[{}]", all.collect::<Vec<_>>().join(", "))
    }

    /// Runs a command of connectord that needs the connections of this world and no server.
    pub fn run_connected(&self, args: &[&str]) -> std::process::Output {
        self.connected(args).output().unwrap()
    }

    /// The same, to be started.
    pub fn connected(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(program("connectord"));
        let flag = self.connection_flag();
        command
            .current_dir(self.folder.path())
            .args(args)
            .args(["--set", &flag])
            .stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn connectord_on<'a>(
        &self,
        (name, port): (&str, u16),
        program: &Path,
        env: &[(&'static str, &str)],
        overrides: impl Iterator<Item = &'a str>,
    ) -> Process {
        let own = format!("server.grpc_addr=127.0.0.1:{port}");
        let peer = format!("policyd.addr=https://localhost:{}", self.policyd_port);
        let connection = self.connection_flag();
        let mut args = vec![
            "server",
            "--set",
            &own,
            "--set",
            "server.http_addr=127.0.0.1:0",
            "--set",
            &peer,
            "--set",
            &connection,
        ];
        let store = self.stores.as_ref().map(|(_, url)| store_flag(url));
        args.extend(store.iter().flat_map(|flag| ["--set", flag]));
        args.extend(self.rates().iter().flat_map(|flag| ["--set", flag]));
        args.extend(self.overrides.iter().flat_map(|flag| ["--set", flag]));
        args.extend(overrides.flat_map(|flag| ["--set", flag]));
        let mut all: Vec<(&str, &str)> = self.env.clone();
        all.extend_from_slice(env);
        Process::start(self.folder.path(), name, program, &args, &all)
    }
}
