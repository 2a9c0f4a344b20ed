//! Cards that contradict themselves, or have a bound that bounds nothing.

use super::*;

#[test]
fn what_contradicts_itself_or_has_no_sound_bound_is_refused() {
    let many: String = (0..60)
        .map(|index| format!("[args.a{index}]\ntype = \"boolean\"\n"))
        .collect();
    let seen: Vec<String> = (0..65).map(|index| format!("\"f{index}\"")).collect();
    let arg = |lines: &str| format!("[args.x]\n{lines}\n");
    let list = "of = { type = \"list\", max_items = 1, of = { type = \"boolean\" } }";
    for end in [
        many,
        arg("type = \"text\"\nmax_chars = 8193"),
        arg("type = \"list\"\nmax_items = 1001\nof = { type = \"boolean\" }"),
        arg(&format!("type = \"list\"\nmax_items = 1\n{list}")),
        arg("type = \"money\"\ncurrencies = []\nmin = \"1\"\nmax = \"2\""),
        arg("type = \"boolean\"\nfield = \"dealstage\""),
        "[args.\"Not A Name\"]\ntype = \"boolean\"\n".to_owned(),
        "[precondition]\nversion = \"always\"\n".to_owned(),
        "[intent]\nby = [\"nothing\"]\nwithin = \"15m\"\n".to_owned(),
        "[intent]\nby = [\"target\"]\nwithin = \"25h\"\n".to_owned(),
        "[demote]\nundone = \"100%\"\nof_last = 20\n".to_owned(),
        "[demote]\nundone = \"5%\"\nof_last = 0\n".to_owned(),
        "[demote]\nundone = \"5%\"\nof_last = 1001\n".to_owned(),
        format!("[read]\nfields = [{}]\n", seen.join(", ")),
        format!("# {}\n", "x".repeat(crate::limits::CARD_BYTES_MAX)),
    ] {
        let shown: String = end.chars().take(60).collect();
        assert!(changed("", &end).is_err(), "{shown}");
    }
    let effort = "risk = \"medium\"\ntier = \"reversible\"\n\
                  undo = \"restores the previous stage\"\nrollback_minutes = 1";
    let low = effort.replace("medium", "low").replace("= 1", "= 61");
    for (from, to) in [
        (effort, low.as_str()),
        ("rollout_max = \"live\"", "rollout = \"live\""),
        ("target = \"deal\"", "target = \"The Deal\""),
    ] {
        assert!(changed(from, to).is_err(), "{to}");
    }
}

#[test]
fn numbers_and_times_are_checked_by_their_bounds() {
    let card = changed(
        "",
        "[args.count]\ntype = \"integer\"\nmin = 1\nmax = 9\noptional = true\n\
         [args.rate]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0.50\"\nmax = \"9.99\"\noptional = true\n\
         [args.at]\ntype = \"timestamp\"\nmin = \"2026-01-01\"\nmax = \"2026-12-31\"\noptional = true\n",
    );
    let card = card.unwrap();
    for (arg, ok) in [
        ("\"count\":1", true),
        ("\"count\":0", false),
        ("\"count\":10", false),
        ("\"rate\":0.5", true),
        ("\"rate\":0.49", false),
        ("\"rate\":10", false),
        ("\"rate\":1.001", false),
        ("\"at\":\"2026-12-31T23:59:59Z\"", true),
        ("\"at\":\"2027-01-01T00:00:00Z\"", false),
        ("\"at\":\"2026-1-2T03:04:05Z\"", false),
    ] {
        let args = args_from_json(&format!("{{\"stage\":\"new\",{arg}}}")).unwrap();
        assert_eq!(card.check(&args, today()).is_ok(), ok, "{arg}");
    }
}

#[test]
fn a_verb_takes_no_rule_that_means_nothing_to_it() {
    let number = "[args.number]\ntype = \"text\"\nmax_chars = 9\n";
    let when = "[precondition]\nwhen = { stage = [\"new\"] }\n";
    let version = "[precondition]\nversion = \"required\"\n";
    let spike = "spike = \"5x median of 7 days\"\n";
    let named = "[identify]\nby = [\"number\", \"email\"]\n";
    let demoted = "[demote]\nundone = \"5%\"\nof_last = 20\n";
    let by_customer = "records_per_customer_per_day = 2\n";
    for (verb, lines, rest) in [
        ("create_draft", "", format!("{when}{EMAIL}")),
        (
            "create_draft",
            "customer = \"customer\"",
            format!("{by_customer}{EMAIL}"),
        ),
        ("read", "", format!("{RUN}{spike}{SEEN}")),
        ("read", "", format!("{RUN}{SEEN}{when}")),
        ("read", "", format!("{RUN}{SEEN}{version}")),
        ("read", "", format!("{RUN}{SEEN}{demoted}")),
        ("find", "", format!("{RUN}{SEEN}{EMAIL}{number}{named}")),
    ] {
        let card = of_verb(verb, lines, &rest);
        assert!(card.is_err(), "{verb} {lines} {rest}");
    }
}
