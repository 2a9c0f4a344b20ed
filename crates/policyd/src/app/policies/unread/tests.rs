//! What looks like a part of the set and is not read is told.

use super::*;

#[test]
fn what_looks_like_a_part_of_the_set_and_is_not_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (name, told) in [
        ("set.toml", ""),
        ("a.cedar", ""),
        ("README.md", ""),
        ("set.lock", ""),
        ("entities.json", ""),
        ("tests/a.json", ""),
        ("actions/a.toml", ""),
        ("actions/README", ""),
        ("actions/a.xml", ""),
        ("actions/a.html", ""),
        (".git/config", ""),
        (".a.cedar.swp", ""),
        (".b.ceder", ""),
        ("tests/c.cedar", "beside set.toml"),
        ("b.ceder", "did you mean .cedar?"),
        ("c.cedar~", ""),
        ("d.Cedar", "did you mean .cedar?"),
        ("refund.toml", "cards lie in actions/"),
        ("set.tml", "did you mean set.toml?"),
        ("sets.toml", "did you mean set.toml?"),
        ("actions/b.tml", "did you mean .toml?"),
        ("actions/c.cedar", "beside set.toml"),
        ("action/a.toml", "did you mean actions?"),
        ("rules/d.cedar", "beside set.toml"),
        ("more/eu/e.cedar", "beside set.toml"),
        ("actions/eu/refund.toml", "in actions/ itself"),
    ] {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let said = unread(folder.path(), "acme");
        let of = |one: &&Finding| {
            let first = name.split('/').next().unwrap();
            let second = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            one.file.contains(name)
                || [format!("acme/{first}"), format!("acme/{second}")].contains(&one.file)
        };
        let mine = said.iter().find(of).map_or("", |one| one.message.as_str());
        assert!(
            mine.contains(told) && mine.is_empty() == told.is_empty(),
            "{name}: {said:?}"
        );
    }
}
