//! `policyd doctor`: everything that keeps the daemon from starting or from being trusted, all of
//! it in one run. It serves nothing, and changes nothing but this: a store that is not there is made, and one of an older
//! version brought to this one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use writ_proto::Reason;
use writ_proto::host::channel::Peer;
use writ_proto::host::layers::Layers;
use writ_proto::host::store::disk::Reserve;
use writ_proto::host::store::postgres::without_password;
use writ_proto::ids::TenantId;
use writ_proto::together::{Disagreement, Side, disagreements};
use x509_parser::pem::parse_x509_pem;

use crate::app::evidence::signer::{Signer, rotations};
use crate::app::policies;
use crate::app::policies::Loaded;
use crate::config::{Config, environment};
use crate::domain::record::project;
use crate::error::AppError;
use crate::grpc::client::{self, ClientFiles};
use crate::output::{Output, plural};
use crate::store::Ledger;
use crate::{clock, keys};

const DAY_SECONDS: i64 = 86_400;
const EXPIRY_WARNING_DAYS: i64 = 30;
/// A record may be so far ahead of the clock before it is worth a warning.
const SKEW_SECONDS: i64 = 5;
/// How long the process on the port has to answer.
const LOOK: Duration = Duration::from_secs(3);

struct Doctor {
    output: Output,
    failed: bool,
    told: BTreeSet<String>,
}

/// What is in order, or what is wrong; a warning is wrong but stops nothing.
enum Finding {
    Ok(String),
    Warn(Reason, String),
    Fail(Reason, String),
}

impl Doctor {
    fn say(&mut self, finding: Finding) {
        let (word, reason, text) = match finding {
            Finding::Ok(text) => ("ok", None, text),
            Finding::Warn(reason, text) => ("WARN", Some(reason), text),
            Finding::Fail(reason, text) => {
                self.failed = true;
                ("FAIL", Some(reason), text)
            }
        };
        let code = reason
            .map(|reason| format!("{} ", reason.code()))
            .unwrap_or_default();
        let fix = reason
            .filter(|reason| !reason.fix_is_in_message())
            .map(|reason| format!("  Fix: {}", reason.fix()))
            .unwrap_or_default();
        // Several checks read one file.
        if reason.is_some() && !self.told.insert(text.clone()) {
            return;
        }
        let value = json!({"result": word, "reason": reason.map(Reason::code), "message": text,
            "fix": reason.map(Reason::fix)});
        self.output
            .line(&format!("{word:<5} {code}{text}{fix}"), &value);
    }
}

/// Whether connectord is where halts are asked for. It may be started later: it has the last word on halts.
async fn connectord(config: &Config) -> (bool, Finding) {
    let Some(peer) = &config.connectord else {
        let why = "there is no [connectord]: halts are not followed, and after the first of them connectord refuses every writ with \
                   TOKEN_REVOKED";
        return (false, Finding::Warn(Reason::HaltUnknown, why.to_owned()));
    };
    let there = match client::peer((&peer.addr, "connectord"), &own_files(config), LOOK) {
        Ok(there) => answered(there).await,
        Err(error) => Err(error),
    };
    match there {
        Ok(()) => (
            true,
            Finding::Ok(format!("connectord answers at {}", peer.addr)),
        ),
        Err(error) => {
            let why = format!(
                "halts are not known here until connectord answers, and only connectord itself stops what is halted: {}",
                error.public
            );
            (false, Finding::Warn(error.reason, why))
        }
    }
}

/// Believes only an answer: a connection stands before the other end has looked at our certificate.
async fn answered(there: Peer) -> Result<(), AppError> {
    let mut client = HealthClient::new(there.connect().await?);
    let service = "writ.v1.ConnectorService".to_owned();
    let answer = client.check(HealthCheckRequest { service }).await;
    answer.map(drop).map_err(client::failed)
}

/// What disagrees with the connectord whose configuration lies in the same folder.
fn beside((file, ours): (&Path, &Layers), answers: bool, doctor: &mut Doctor) {
    let folder = file.parent().unwrap_or(Path::new(""));
    let theirs = folder.join("connectord.toml");
    if !theirs.exists() {
        return;
    }
    match Layers::read(&theirs, environment().into_iter(), "CONNECTORD_", &[]) {
        Ok(read) => {
            let found = disagreements_of(folder, ours, &read);
            if found.is_empty() {
                let what = format!("{} agrees with this configuration", theirs.display());
                doctor.say(Finding::Ok(what));
            }
            // Something may stand between an address and a port: who answers is reached.
            for found in found.into_iter().filter(|one| one.certain || !answers) {
                doctor.say(Finding::Fail(Reason::ConfigInvalid, found.what));
            }
        }
        Err(error) => doctor.say(Finding::Warn(Reason::ConfigInvalid, error.to_string())),
    }
}

fn disagreements_of(folder: &Path, ours: &Layers, theirs: &Layers) -> Vec<Disagreement> {
    let authority = |of: &Layers| std::fs::read(folder.join(of.text("tls.ca")?)).ok();
    let (left, right) = (authority(ours), authority(theirs));
    let policyd = Side {
        text: &|path| ours.text(path),
        authority: left.as_deref(),
    };
    let connectord = Side {
        text: &|path| theirs.text(path),
        authority: right.as_deref(),
    };
    disagreements(policyd, connectord)
}

fn own_files(config: &Config) -> ClientFiles<'_> {
    ClientFiles {
        ca: &config.tls.ca,
        cert: &config.tls.cert,
        key: &config.tls.key_file,
    }
}

/// Examines a configuration; exit 2 if anything fails.
pub(crate) async fn run(config: &Config, files: (&Path, &Layers), output: Output) -> u8 {
    let mut doctor = Doctor {
        output,
        failed: false,
        told: BTreeSet::new(),
    };
    doctor.say(Finding::Ok("configuration".to_owned()));
    for path in private_keys(config) {
        doctor.say(match keys::check_mode(path) {
            Ok(()) => Finding::Ok(format!("{} is private", path.display())),
            Err(error) => Finding::Fail(error.reason, error.detail),
        });
    }
    doctor.say(match Signer::read(config) {
        Ok(signer) if rotations(config).iter().any(|one| one.may_be_unfinished(&signer.keys)) => {
            let why = "a rotation of keys is under way or was cut off: a running policyd finishes it when it is due, and so does \
                       policyd keys rotate";
            Finding::Warn(Reason::TrustInvalid, why.to_owned())
        }
        Ok(signer) => Finding::Ok(format!(
            "trust document version {}, {} keys, ours are active",
            signer.keys.version,
            signer.keys.entries().len()
        )),
        Err(error) => Finding::Fail(error.reason, error.detail),
    });
    for path in [&config.tls.ca, &config.tls.cert] {
        doctor.say(certificate(path, clock::now().timestamp()));
    }
    let door = crate::server::door(config);
    let has_door = door.is_ok();
    doctor.say(match door {
        Ok(_) => Finding::Ok("our certificate names policyd in its trust domain".to_owned()),
        Err(error) => Finding::Fail(error.reason, error.public),
    });
    let tenants = policies_of(config, &mut doctor);
    store(config, &tenants, &mut doctor).await;
    // Who listens there is not asked with a certificate that is no use.
    if has_door {
        doctor.say(port(config).await);
    }
    let (answers, found) = connectord(config).await;
    doctor.say(found);
    beside(files, answers, &mut doctor);
    u8::from(doctor.failed) * 2
}

fn private_keys(config: &Config) -> [&Path; 4] {
    [
        &config.token.key_file,
        &config.records.checkpoint_key_file,
        &config.trust.key_file,
        &config.tls.key_file,
    ]
}

/// When a certificate begins and ends, as seen at a moment.
fn certificate(path: &Path, now: i64) -> Finding {
    let unusable = |why: &dyn core::fmt::Display| {
        Finding::Fail(Reason::TlsInvalid, format!("{}: {why}", path.display()))
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return unusable(&error),
    };
    let pem = match parse_x509_pem(&text) {
        Ok((_, pem)) => pem,
        Err(error) => return unusable(&error),
    };
    let validity = match pem.parse_x509() {
        Ok(certificate) => certificate.validity().clone(),
        Err(error) => return unusable(&error),
    };
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let days = until.saturating_sub(now).div_euclid(DAY_SECONDS);
    let name = path.display();
    if now < from {
        Finding::Fail(
            Reason::TlsInvalid,
            format!("{name} is not valid yet: is the clock right?"),
        )
    } else if now > until {
        let ago = now.saturating_sub(until).div_euclid(DAY_SECONDS);
        Finding::Fail(
            Reason::ClientCertExpired,
            format!("{name} expired {ago} days ago"),
        )
    } else if days < EXPIRY_WARNING_DAYS {
        Finding::Warn(
            Reason::ClientCertExpired,
            format!("{name} expires in {days} days"),
        )
    } else {
        Finding::Ok(format!("{name} is valid for {days} days"))
    }
}

fn policies_of(config: &Config, doctor: &mut Doctor) -> Vec<TenantId> {
    let loaded = match policies::load(&config.policy.dir) {
        Ok(loaded) => loaded,
        Err(errors) => Loaded {
            refused: BTreeMap::from([(String::new(), errors)]),
            ..Loaded::default()
        },
    };
    for (tenant, set) in &loaded.table {
        let (rules, cards) = (set.rules().count(), set.cards().count());
        let label = &set.label;
        let (rules, cards) = (plural(rules, "rule"), plural(cards, "card"));
        let text = format!("policies of {tenant}: {label} {rules}, {cards}");
        doctor.say(Finding::Ok(text));
    }
    let unread = policies::unread_of_all(&config.policy.dir).into_iter();
    for found in unread.chain(policies::warnings(&loaded.table)) {
        doctor.say(Finding::Warn(found.reason, found.to_string()));
    }
    for found in loaded.errors().0 {
        doctor.say(Finding::Fail(found.reason, found.to_string()));
    }
    loaded.table.into_keys().collect()
}

/// Opens the store, and compares the clock with the newest record of each tenant.
async fn store(config: &Config, tenants: &[TenantId], doctor: &mut Doctor) {
    let url = without_password(&config.store.url);
    let ledger = match Ledger::open(&config.store.url).await {
        Ok(ledger) => ledger,
        Err(error) => {
            let reason = AppError::from(error.clone()).reason;
            return doctor.say(Finding::Fail(reason, format!("{url}: {error}")));
        }
    };
    match ledger.probe(clock::now().timestamp_millis()).await {
        Ok(()) => doctor.say(Finding::Ok(format!("store {url}, and it can be written"))),
        Err(error) => {
            let text = format!("{url} cannot be written, so nothing can be decided: {error}");
            doctor.say(Finding::Fail(Reason::StoreUnavailable, text));
        }
    }
    doctor.say(room(config));
    for tenant in tenants {
        match newest(&ledger, tenant).await {
            Ok((size, ahead)) if ahead > SKEW_SECONDS => {
                let text = format!(
                    "{tenant}: record #{} is {ahead} s in the future: the clock went back",
                    size.saturating_sub(1)
                );
                doctor.say(Finding::Warn(Reason::TokenNotYetValid, text));
            }
            Ok((size, _)) => doctor.say(Finding::Ok(format!(
                "log of {tenant}: {}",
                plural(size, "record")
            ))),
            Err(error) => doctor.say(Finding::Fail(
                error.reason,
                format!("{tenant}: {}", error.public),
            )),
        }
    }
}

/// Whether the disk has more room than the reserve.
fn room(config: &Config) -> Finding {
    let megabytes = config.store.reserve_mb;
    let room = Reserve::new(&config.store.url, megabytes).look();
    if room.is_short() {
        let why = format!("{room}; agents are refused below store.reserve_mb = {megabytes}");
        return Finding::Fail(Reason::DiskReserve, why);
    }
    Finding::Ok(room.to_string())
}

/// Size of a log, and how many seconds its last record is ahead of the clock.
async fn newest(ledger: &Ledger, tenant: &TenantId) -> Result<(u64, i64), AppError> {
    let size = ledger.head(tenant).await?.frontier.size();
    let rows = ledger
        .record_list(tenant, size.saturating_sub(1), 1)
        .await?;
    let Some(row) = rows.first() else {
        return Ok((size, 0));
    };
    let corrupt = || AppError::of(Reason::StoreCorrupt);
    let read = project(&row.leaf).map_err(|_| corrupt())?;
    let time = chrono::DateTime::parse_from_rfc3339(&read.time).map_err(|_| corrupt())?;
    Ok((
        size,
        time.timestamp().saturating_sub(clock::now().timestamp()),
    ))
}

/// Who has the port: nobody, our own daemon, or somebody else.
async fn port(config: &Config) -> Finding {
    let addr = config.server.grpc_addr;
    let Err(taken) = tokio::net::TcpListener::bind(addr).await else {
        return Finding::Ok(format!("{addr} is free"));
    };
    let own = own_files(config);
    let there = client::peer((&format!("https://{addr}"), "policyd"), &own, LOOK);
    let there = match there {
        Ok(peer) => peer.connect().await.map(drop).map_err(AppError::from),
        Err(error) => Err(error),
    };
    match there {
        Ok(()) => Finding::Ok(format!("policyd runs at {addr}")),
        Err(other) => {
            let why = format!(
                "{addr} is taken ({taken}) and whoever listens there is not this policyd: {}",
                other.public
            );
            Finding::Warn(Reason::PortInUse, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_judged_by_the_moment() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["certs", "keys"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        super::super::certs::CertArgs::default()
            .issue(folder.path())
            .unwrap();
        let path = folder.path().join("certs/policyd.pem");
        let now = clock::now().timestamp();
        let at = |days: i64| certificate(&path, now + days * DAY_SECONDS);
        assert!(matches!(at(0), Finding::Ok(_)));
        assert!(matches!(
            at(340),
            Finding::Warn(Reason::ClientCertExpired, _)
        ));
        assert!(matches!(
            at(370),
            Finding::Fail(Reason::ClientCertExpired, _)
        ));
        assert!(matches!(at(-9), Finding::Fail(Reason::TlsInvalid, _)));
        let absent = certificate(&folder.path().join("absent"), now);
        assert!(matches!(absent, Finding::Fail(Reason::TlsInvalid, _)));
    }
}
