//! Ceilings of amounts by currency, and the ceiling of a day that is held to the days before.

use super::*;

#[test]
fn an_amount_counts_in_units_of_its_currency_against_the_same_figure() {
    for (ceiling, currency, add, cap) in [
        ("9.50", "EUR", 500, 950),
        ("9.50", "JPY", 5, 0),
        ("9", "EUR", 500, 900),
        ("9", "JPY", 5, 9),
    ] {
        for (per, bucket) in [("day", "2026-11-21"), ("run", "run/triage/r-1")] {
            let card = card(&format!("amount_per_{per} = \"{ceiling}\""));
            let counts = spent(&card, &call("r-1", currency), now()).unwrap();
            let amount = Count {
                is_amount: true,
                action: "set_amount".to_owned(),
                bucket: format!("{bucket}/{currency}"),
                add,
                cap,
                what: format!("the ceiling of {currency} a {per} is reached"),
            };
            assert_eq!(counts, [count(DAY), amount], "{ceiling} {currency} {per}");
        }
    }
}

#[test]
fn what_is_no_amount_of_a_currency_of_the_card_never_gets_as_far_as_its_ceiling() {
    let card = card("amount_per_day = \"9\"");
    for (args, found) in [
        (
            r#"{"amount":{"currency":"USD","value":5}}"#,
            r#"{"value":5,"currency":"USD"}"#,
        ),
        (
            r#"{"amount":{"currency":"EUR","value":-5}}"#,
            r#"{"value":-5,"currency":"EUR"}"#,
        ),
        (r#"{"amount":5}"#, "5"),
        (r#"{"note":"n"}"#, "nothing"),
    ] {
        let refused = spent(&card, &asked("r-1", args), now());
        let detail = format!(
            "amount: found {found}, allowed an amount with its currency, such as 1000 EUR: 1 to 1000 in EUR, JPY"
        );
        let want = Refusal::new(Reason::ArgsSchema, detail);
        assert_eq!(refused, Err(want), "{args}");
    }
}

#[test]
fn an_argument_that_is_no_money_is_refused_where_money_is_counted() {
    let money = "type = \"money\"\ncurrencies = [\"EUR\", \"JPY\"]\nmin = \"1\"\nmax = \"1000\"";
    assert!(CARD.contains(money));
    let number = CARD.replace(money, "type = \"integer\"\nmin = 1\nmax = 9");
    let number = Card::parse(&number).unwrap();
    let call = asked("r-1", r#"{"amount":5}"#);
    let permit = admitted(&call, &number, now().to_utc()).unwrap();
    let plain = at_claim(&permit, &call, (&number, Rollout::Live), now());
    assert_eq!(plain, Ok(vec![count(DAY)]));
    let counted = at_claim(
        &permit,
        &call,
        (&card("amount_per_day = \"9\""), Rollout::Live),
        now(),
    );
    assert_eq!(counted, Err(Refusal::of(Reason::ArgsSchema)));
}

#[test]
fn a_spike_is_measured_against_the_median_and_a_quiet_week_has_a_floor() {
    for (earlier, cap) in [
        (vec![], 20),
        (vec![0; 7], 20),
        (vec![100, 0, 0, 0, 0, 0, 0], 20),
        (vec![10, 12, 8, 11, 9, 500, 10], 50),
        (vec![i64::MAX; 7], i64::MAX),
    ] {
        assert_eq!(spike_cap(5, earlier.clone()), cap, "{earlier:?}");
    }
}

#[test]
fn a_spike_lowers_the_ceiling_of_the_day_and_no_other() {
    let card = card(ALL);
    let factor = card.caps.spike.unwrap();
    let counts = spent(&card, &call("r-1", "EUR"), now()).unwrap();
    let (reached, spike) = (
        "the ceiling of records a day is reached",
        "far more records today than on a usual day",
    );
    for (usual, cap, what) in [
        (0, 20, spike),
        (4, 20, spike),
        (5, 25, spike),
        (6, 30, reached),
        (7, 30, reached),
    ] {
        let held = with_spike(counts.clone(), &day(now()), (factor, vec![usual; 7]));
        let day = Count {
            cap,
            what: what.to_owned(),
            ..count(DAY)
        };
        assert_eq!(held[0], day, "{usual}");
        assert_eq!(Over::of(&held[0]).halts_run, what == spike, "{usual}");
        assert_eq!(held[1..], counts[1..], "{usual}");
    }
}
