//! How figures are made of samples.

use super::*;

#[test]
fn quantiles_are_of_the_sorted_list_and_never_outside_it() {
    let list: Vec<Duration> = (0..=100).map(Duration::from_millis).collect();
    assert_eq!(quantile(&list, 500), Duration::from_millis(50));
    assert_eq!(quantile(&list, 990), Duration::from_millis(99));
    assert_eq!(quantile(&list, 999), Duration::from_millis(100));
    assert_eq!(quantile(&[], 500), Duration::ZERO);
    assert_eq!(
        quantile(&[Duration::from_secs(1)], 999),
        Duration::from_secs(1)
    );
}
