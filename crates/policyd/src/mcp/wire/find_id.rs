//! The id of a message that cannot be read: it may be cut, or be no JSON at all behind some point.
//! Nothing is taken from it but the id, so that whoever waits for the answer gets one.

use rmcp::model::{NumberOrString, RequestId};

/// Longest id that is given back.
const ID_BYTES_MAX: usize = 256;

/// A part of the text.
enum Token<'a> {
    /// What stands between two quotes, as it is written.
    Text(&'a [u8]),
    /// A bracket, a comma or a colon.
    Mark(u8),
    /// Anything else: a number or a word.
    Word(&'a [u8]),
}

struct Tokens<'a>(&'a [u8]);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let start = self.0.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let rest = self.0.get(start..)?;
        let first = *rest.first()?;
        let (token, used) = match first {
            b'"' => {
                let mut at = 1;
                loop {
                    match rest.get(at)? {
                        b'"' => break,
                        b'\\' => at = at.checked_add(2)?,
                        _ => at = at.checked_add(1)?,
                    }
                }
                (Token::Text(rest.get(1..at)?), at.checked_add(1)?)
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => (Token::Mark(first), 1),
            _ => {
                let ends = |byte: &u8| b"{}[],:\"".contains(byte) || byte.is_ascii_whitespace();
                let end = rest.iter().position(ends).unwrap_or(rest.len());
                (Token::Word(rest.get(..end)?), end)
            }
        };
        self.0 = rest.get(used..)?;
        Some(token)
    }
}

fn read(token: &Token<'_>) -> Option<RequestId> {
    match token {
        Token::Text(text) if text.len() <= ID_BYTES_MAX => {
            let quoted = format!("\"{}\"", core::str::from_utf8(text).ok()?);
            let text: String = serde_json::from_str(&quoted).ok()?;
            Some(NumberOrString::String(text.into()))
        }
        Token::Word(word) => {
            let number = core::str::from_utf8(word).ok()?.parse().ok()?;
            Some(NumberOrString::Number(number))
        }
        Token::Text(_) | Token::Mark(_) => None,
    }
}

/// The one id of a message, or that of the first message of a batch; none where there are two.
pub(super) fn find_id(bytes: &[u8]) -> Option<RequestId> {
    let mut tokens = Tokens(bytes).peekable();
    let is_batch = matches!(tokens.peek(), Some(Token::Mark(b'[')));
    let own = if is_batch { 2 } else { 1 };
    let (mut depth, mut found) = (0_usize, None);
    while let Some(token) = tokens.next() {
        match token {
            Token::Mark(b'{' | b'[') => depth = depth.saturating_add(1),
            Token::Mark(b'}' | b']') => {
                depth = depth.saturating_sub(1);
                if depth < own {
                    break;
                }
            }
            Token::Text(b"id") if depth == own => {
                if tokens
                    .next_if(|next| matches!(next, Token::Mark(b':')))
                    .is_none()
                {
                    continue;
                }
                let id = tokens.peek().and_then(read);
                if found.is_some() && id.is_some() {
                    return None;
                }
                found = found.or(id);
            }
            Token::Text(_) | Token::Word(_) | Token::Mark(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_wherever_the_text_breaks() {
        let long = format!(
            r#"{{"id":50,"method":"x","params":{{"a":"{}"#,
            "y".repeat(100_000)
        );
        let table = [
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, Some("7")),
            (r#"{"id":"a\u0062c","method":1"#, Some("\"abc\"")),
            (long.as_str(), Some("50")),
            (r#"{"params":{"id":1},"id":2}"#, Some("2")),
            (r#"{"params":[{"id":1}],"x":"id","id" : 3 , "#, Some("3")),
            (r#"{"a":"\"id\":9","id":4"#, Some("4")),
            (r#"[{"id":5},{"id":6}]"#, Some("5")),
            (r#"{"id":1,"id":2}"#, None),
            (r#"{"id":1.5}"#, None),
            (r#"{"id":{"id":1}}"#, None),
            (r#"{"id":null}"#, None),
            ("hello", None),
            ("{", None),
            ("", None),
            (r#"{"id":"#, None),
            (r#"{"id":"open"#, None),
        ];
        for (text, wanted) in table {
            let found = find_id(text.as_bytes());
            let found = found.map(|id| serde_json::to_string(&id).unwrap());
            let shown: String = text.chars().take(60).collect();
            assert_eq!(found.as_deref(), wanted, "{shown}");
        }
        assert!(find_id(&[0xff; 1_000]).is_none());
        assert!(find_id("[".repeat(100_000).as_bytes()).is_none());
    }
}
