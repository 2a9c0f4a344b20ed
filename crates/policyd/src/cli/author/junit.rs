//! Results of policy tests as JUnit XML, which every CI reads.

use std::fmt::Write as _;

use crate::domain::policy::case::CaseResult;

/// The cases of one file.
#[derive(Debug)]
pub(crate) struct Suite {
    /// `acme/tests/story.json`.
    pub(crate) name: String,
    pub(crate) results: Vec<CaseResult>,
}

/// Text as it may stand in an attribute; what XML 1.0 cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(letter));
            }
            letter if letter.is_control() || letter == '\u{fffe}' || letter == '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            letter => out.push(letter),
        }
    }
    out
}

/// The document.
pub(crate) fn junit(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for Suite { name, results } in suites {
        let failures = results
            .iter()
            .filter(|result| result.failure.is_some())
            .count();
        let (name, tests) = (escaped(name), results.len());
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\">"
        );
        for result in results {
            let case = escaped(&result.name);
            let head = format!("    <testcase classname=\"{name}\" name=\"{case}\"");
            let _ = match &result.failure {
                None => writeln!(out, "{head}/>"),
                Some(why) => writeln!(
                    out,
                    "{head}><failure message=\"{}\"/></testcase>",
                    escaped(why)
                ),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_xml_whatever_the_names_are() {
        let result = |name: &str, failure: Option<&str>| CaseResult {
            name: name.into(),
            failure: failure.map(str::to_owned),
            rules: Vec::new(),
        };
        let suite = Suite {
            name: "acme/tests/a.json".into(),
            results: vec![
                result("good", None),
                result("<b> & \"c\"\n\u{1b}", Some("wanted ALLOW, got DENY")),
            ],
        };
        let text = junit(&[suite]);
        assert!(text.contains("tests=\"2\" failures=\"1\""));
        assert!(text.contains("name=\"&lt;b&gt; &amp; &quot;c&quot;&#10;\u{fffd}\""));
        assert!(text.contains("<failure message=\"wanted ALLOW, got DENY\"/>"));
        assert_eq!(text.matches("<testcase").count(), 2);
    }
}
