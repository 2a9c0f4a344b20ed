//! However a changed set is put in place, only whole sets are taken, each tenant's for itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread::sleep;

use super::*;
use crate::app::policies::read_tenant;
use crate::domain::policy::LOCK;

/// A set without a lock rests this long in these tests.
const TEST_REST: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

struct Place {
    _temp: tempfile::TempDir,
    folder: PathBuf,
    watched: Watched,
    taken: BTreeMap<String, String>,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn shipped(tenant: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../policies")
        .join(tenant)
}

fn rule(id: &str) -> String {
    format!(
        "@id(\"{id}\")\n@reason(\"x\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@a.example\")\nforbid (principal, action == Action::\"refund\", resource);\n"
    )
}

fn digest(folder: &Path) -> String {
    hex::encode(load_tenant(folder).unwrap().digest)
}

fn seal(folder: &Path) {
    let text = read_tenant(folder).unwrap().lock_text();
    fs::write(folder.join(LOCK), text).unwrap();
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("policies");
        for tenant in ["acme", "globex"] {
            copy(&shipped(tenant), &folder.join(tenant));
        }
        let watched = Watched::new(&folder);
        let mut place = Self {
            _temp: temp,
            folder,
            watched,
            taken: BTreeMap::new(),
        };
        place.watched.rest = TEST_REST;
        place
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.with_file_name(name)
    }

    /// Looks once; what is refused is taken down as that.
    fn look(&mut self) {
        for (name, change) in self.watched.look() {
            let what = match change {
                Change::Set(set) => hex::encode(set.digest),
                Change::Refused(errors) => format!("refused: {errors}"),
                Change::Gone => "gone".to_owned(),
            };
            self.taken.insert(name, what);
        }
    }

    fn until(&mut self, tenant: &str, wanted: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !self.taken.get(tenant).is_some_and(|taken| wanted(taken)) {
            assert!(began.elapsed() < PATIENCE, "{tenant}: {:?}", self.taken);
            sleep(LOOK);
            self.look();
        }
    }
}

type Way = fn(&Place, &Path);

const WAYS: [(&str, Way); 7] = [
    ("edited in place", |place, new| {
        fs::copy(
            new.join("extra.cedar"),
            place.folder.join("acme/extra.cedar"),
        )
        .unwrap();
    }),
    (
        "same size, same time of change as an editor sets it",
        |place, new| {
            let path = place.folder.join("acme/extra.cedar");
            let before = fs::metadata(&path).unwrap().modified().unwrap();
            fs::copy(new.join("extra.cedar"), &path).unwrap();
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(before)
                .unwrap();
        },
    ),
    ("file renamed over the old one", |place, new| {
        let fresh = place.folder.join("acme/.extra.new");
        fs::copy(new.join("extra.cedar"), &fresh).unwrap();
        fs::rename(&fresh, place.folder.join("acme/extra.cedar")).unwrap();
    }),
    ("tenant's folder renamed", |place, new| {
        fs::rename(place.folder.join("acme"), place.beside("old")).unwrap();
        copy(new, &place.beside("fresh"));
        fs::rename(place.beside("fresh"), place.folder.join("acme")).unwrap();
    }),
    ("folder of all renamed", |place, new| {
        copy(&place.folder, &place.beside("next"));
        fs::copy(
            new.join("extra.cedar"),
            place.beside("next/acme/extra.cedar"),
        )
        .unwrap();
        fs::rename(&place.folder, place.beside("gone")).unwrap();
        fs::rename(place.beside("next"), &place.folder).unwrap();
    }),
    ("link of all switched", |place, new| {
        let release = place.beside(&format!("release-{}", digest(new)));
        copy(&place.folder, &release);
        fs::copy(new.join("extra.cedar"), release.join("acme/extra.cedar")).unwrap();
        fs::rename(&place.folder, place.beside("before")).unwrap();
        symlink(&release, place.beside("link")).unwrap();
        fs::rename(place.beside("link"), &place.folder).unwrap();
    }),
    ("Kubernetes ConfigMap", |place, new| {
        let acme = place.folder.join("acme");
        fs::remove_dir_all(&acme).unwrap();
        let version = acme.join("..2026_11_28");
        copy(new, &version);
        symlink("..2026_11_28", acme.join("..data")).unwrap();
        for entry in fs::read_dir(&version).unwrap() {
            let name = entry.unwrap().file_name();
            symlink(Path::new("..data").join(&name), acme.join(&name)).unwrap();
        }
    }),
];

#[test]
fn every_usual_way_of_putting_files_in_place_is_seen() {
    for (name, way) in WAYS {
        let mut place = Place::new();
        fs::write(place.folder.join("README"), "for people").unwrap();
        fs::create_dir_all(place.folder.join(".git/objects")).unwrap();
        fs::write(place.folder.join("acme/extra.cedar"), rule("aaaa")).unwrap();
        place.until("acme", |taken| !taken.contains(' '));
        let new = place.beside("new");
        copy(&place.folder.join("acme"), &new.join("acme"));
        fs::write(new.join("acme/extra.cedar"), rule("bbbb")).unwrap();
        let wanted = digest(&new.join("acme"));
        way(&place, &new.join("acme"));
        place.until("acme", |taken| taken == wanted);
        let other = place.taken.get("globex");
        assert!(
            other.is_none_or(|taken| *taken == digest(&shipped("globex"))),
            "{name}: {other:?}"
        );
    }
}

#[test]
fn one_tenants_broken_file_holds_back_nobody_else() {
    let mut place = Place::new();
    fs::write(
        place.folder.join("globex/broken.cedar"),
        "permit (principal, action",
    )
    .unwrap();
    place.until("globex", |taken| taken.starts_with("refused"));
    fs::write(place.folder.join("acme/freeze.cedar"), rule("freeze")).unwrap();
    let wanted = digest(&place.folder.join("acme"));
    place.until("acme", |taken| taken == wanted);
    // The refusal was told once and names only what is globex's own.
    let told = place.taken.remove("globex").unwrap();
    assert!(
        told.contains("globex/broken.cedar:1:") && !told.contains("acme"),
        "{told}"
    );
    place.look();
    assert!(!place.taken.contains_key("globex"));
    fs::remove_file(place.folder.join("globex/broken.cedar")).unwrap();
    let mended = digest(&place.folder.join("globex"));
    place.until("globex", |taken| taken == mended);
    // A set that is too deep for a parser is refused like any other.
    let deep = format!(
        "@id(\"d\") @reason(\"d\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") permit (principal, action, resource) when {{ {}true{} }};",
        "(".repeat(5_000),
        ")".repeat(5_000)
    );
    fs::write(place.folder.join("globex/deep.cedar"), deep).unwrap();
    place.until("globex", |taken| {
        taken.contains("brackets within each other")
    });
    // A folder that is no tenant is named, and one that is taken away ends its tenant alone.
    fs::create_dir(place.folder.join("No Tenant")).unwrap();
    place.until("No Tenant", |taken| {
        taken.contains("not named like a tenant")
    });
    fs::remove_dir_all(place.folder.join("globex")).unwrap();
    place.until("globex", |taken| taken == "gone");
}

#[test]
fn pipes_endless_files_and_locks_that_cannot_be_reached_hang_nothing_and_are_refused() {
    let mut place = Place::new();
    let pipe = place.folder.join("globex/pipe.cedar");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    place.until("globex", |taken| taken.contains("not a plain file"));
    fs::remove_file(&pipe).unwrap();
    symlink("/dev/zero", &pipe).unwrap();
    place.taken.clear();
    place.until("globex", |taken| taken.contains("not a plain file"));
    fs::remove_file(&pipe).unwrap();
    // A lock behind a link that leads nowhere seals as well: an unsealed set would be taken instead.
    let lock = place.folder.join("acme").join(LOCK);
    symlink("../away/acme.lock", &lock).unwrap();
    fs::write(place.folder.join("acme/freeze.cedar"), rule("freeze")).unwrap();
    place.until("acme", |taken| taken.contains("set.lock"));
    fs::remove_file(&lock).unwrap();
    let wanted = digest(&place.folder.join("acme"));
    place.until("acme", |taken| taken == wanted);
}

#[test]
fn a_policy_folder_that_is_away_takes_nothing_out_of_force() {
    let mut place = Place::new();
    fs::rename(&place.folder, place.beside("away")).unwrap();
    place.until("", |taken| taken.starts_with("refused"));
    fs::create_dir(&place.folder).unwrap();
    let began = Instant::now();
    while began.elapsed() < TEST_REST * 3 {
        place.look();
    }
    assert_eq!(place.taken.keys().collect::<Vec<_>>(), [""]);
    fs::remove_dir(&place.folder).unwrap();
    fs::rename(place.beside("away"), &place.folder).unwrap();
    fs::write(place.folder.join("acme/freeze.cedar"), rule("freeze")).unwrap();
    let wanted = digest(&place.folder.join("acme"));
    place.until("acme", |taken| taken == wanted);
}

/// Small numbers that look random and are the same at every run.
fn next(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap()
}

#[test]
fn of_a_hundred_changes_of_a_sealed_set_only_whole_ones_are_taken() {
    let mut place = Place::new();
    seal(&place.folder.join("acme"));
    place.until("acme", |taken| !taken.contains(' '));
    let mut state = 7;
    for round in 0..100 {
        let old = digest(&place.folder.join("acme"));
        let new = place.beside("new").join("acme");
        let _gone = fs::remove_dir_all(&new);
        copy(&place.folder.join("acme"), &new);
        fs::write(new.join("extra.cedar"), rule(&format!("round-{round}"))).unwrap();
        if next(&mut state).is_multiple_of(2) {
            // Half of what a rule is split over two files comes later than the other half.
            fs::write(new.join("more.cedar"), rule(&format!("more-{round}"))).unwrap();
        }
        seal(&new);
        let wanted = digest(&new);
        let acme = place.folder.join("acme");
        let way = next(&mut state) % 4;
        match way {
            0 => {
                // Copied file by file, in a random order, with pauses longer than any rest.
                let mut files: Vec<PathBuf> = fs::read_dir(&new)
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .filter(|path| path.is_file())
                    .collect();
                files.sort();
                while !files.is_empty() {
                    let path = files.swap_remove(next(&mut state) % files.len());
                    let target = acme.join(path.file_name().unwrap());
                    if fs::read(&path).ok() == fs::read(&target).ok() {
                        continue;
                    }
                    fs::copy(&path, &target).unwrap();
                    let paused = Instant::now();
                    while paused.elapsed() < TEST_REST * 2 {
                        sleep(LOOK);
                        place.look();
                        let taken = place.taken.get("acme").map_or("", String::as_str);
                        let half = taken != old && taken != wanted && !taken.starts_with("refused");
                        assert!(!half, "round {round}: {taken}");
                    }
                }
            }
            1 => {
                fs::rename(&acme, place.beside(&format!("old-{round}"))).unwrap();
                fs::rename(&new, &acme).unwrap();
            }
            2 => {
                let release = place.beside(&format!("release-{round}"));
                copy(&new, &release);
                fs::rename(&acme, place.beside(&format!("old-{round}"))).unwrap();
                symlink(&release, &acme).unwrap();
            }
            _ => {
                for name in ["extra.cedar", "more.cedar", LOCK] {
                    if new.join(name).exists() {
                        fs::copy(new.join(name), acme.join(name)).unwrap();
                    }
                    place.look();
                    let taken = place.taken.get("acme").map_or("", String::as_str);
                    assert!(
                        taken == old || taken == wanted || taken.starts_with("refused"),
                        "{taken}"
                    );
                }
            }
        }
        place.until("acme", |taken| taken == wanted);
    }
}

#[test]
fn nothing_is_taken_or_told_before_its_files_have_rested() {
    let mut place = Place::new();
    // Longer than this test: nothing of it is due.
    place.watched.rest = PATIENCE;
    place.look();
    let acme = place.folder.join("acme");
    fs::write(acme.join("freeze.cedar"), rule("freeze")).unwrap();
    fs::rename(place.folder.join("globex"), place.beside("globex")).unwrap();
    for _ in 0..3 {
        place.look();
        sleep(LOOK);
    }
    assert_eq!(place.taken, BTreeMap::new(), "not at rest");
    // A sealed set that is not whole yet is on its way.
    fs::rename(place.beside("globex"), place.folder.join("globex")).unwrap();
    fs::write(acme.join(LOCK), "").unwrap();
    place.look();
    assert_eq!(place.taken, BTreeMap::new(), "on its way");
    seal(&acme);
    let wanted = digest(&acme);
    place.look();
    assert_eq!(place.taken, BTreeMap::from([("acme".to_owned(), wanted)]));
}

#[test]
fn hidden_and_very_long_files_do_not_count() {
    let place = Place::new();
    let acme = place.folder.join("acme");
    let before = digest(&acme);
    fs::write(acme.join(".half.cedar"), "permit(").unwrap();
    assert_eq!(digest(&acme), before);
    fs::write(acme.join("long.cedar"), " ".repeat(8 * 1_024 * 1_024 + 1)).unwrap();
    let refused = read_tenant(&acme).unwrap_err().to_string();
    assert!(refused.contains("more than 8388608 bytes"), "{refused}");
    fs::remove_file(acme.join("long.cedar")).unwrap();
    let blanks = " ".repeat(7 * 1_024 * 1_024);
    for number in 0..5 {
        fs::write(acme.join(format!("long-{number}.cedar")), &blanks).unwrap();
    }
    let refused = read_tenant(&acme).unwrap_err().to_string();
    assert!(refused.contains("more than 33554432 bytes"), "{refused}");
    fs::create_dir(place.folder.join(".git")).unwrap();
    let names = crate::app::policies::tenant_names(&place.folder);
    assert_eq!(names, ["acme", "globex"]);
}

#[test]
fn a_folder_that_is_not_there_holds_nothing_and_one_that_cannot_be_read_is_refused() {
    let place = Place::new();
    let acme = place.folder.join("acme");
    let actions = acme.join("actions");
    fs::remove_dir_all(&actions).unwrap();
    assert!(read_tenant(&acme).unwrap().cards.is_empty());
    // What is no folder: nobody but root is kept out of one.
    fs::write(&actions, "").unwrap();
    let refused = read_tenant(&acme).unwrap_err().to_string();
    assert!(refused.contains("actions"), "{refused}");
    // Nor is a tenant gone whose folder cannot be looked at.
    symlink("loop", place.folder.join("loop")).unwrap();
    let tenants = folder::tenants(&place.folder).unwrap();
    assert!(
        tenants.iter().any(|(name, _)| name == "loop"),
        "{tenants:?}"
    );
    assert!(!folder::has_lock(&acme).unwrap());
    assert!(folder::has_lock(&actions).is_err());
}

/// Reads a set while somebody goes on writing it.
fn read_amid_writing(path: &Path) -> Result<Arc<TenantPolicies>, PolicyErrors> {
    let read = load_tenant(path);
    fs::write(path.join("late.cedar"), rule("late")).unwrap();
    read
}

#[test]
fn what_changed_while_it_was_read_is_not_taken() {
    let mut place = Place::new();
    place.watched.rest = Duration::ZERO;
    place.watched.load = read_amid_writing;
    let acme = place.folder.join("acme");
    fs::write(acme.join("early.cedar"), rule("early")).unwrap();
    place.look();
    assert_eq!(place.taken, BTreeMap::new(), "half of two sets");
    place.watched.load = load_tenant;
    let wanted = digest(&acme);
    place.look();
    assert_eq!(place.taken, BTreeMap::from([("acme".to_owned(), wanted)]));
}
