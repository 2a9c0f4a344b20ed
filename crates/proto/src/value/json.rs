//! JSON text to values and back. Strict RFC 8259: no duplicate keys (after unescaping), no BOM,
//! no comments, no trailing commas, numbers read exactly from their text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::decimal::NumberError;
use super::{Map, Value, ValueError, key_is_allowed, number_from_text};
use crate::limits::{
    ARGS_BYTES_MAX, ARGS_DEPTH_MAX, ARGS_NODES_MAX, KEYS_MAX, LIST_ITEMS_MAX, STRING_BYTES_MAX,
};
use crate::reason::Reason;

/// Reads arguments: one JSON object.
///
/// # Errors
/// One of the `ARGS_*` codes, with the place in the text.
pub fn args_from_json(text: &str) -> Result<Map, ValueError> {
    match value_from_json(text)? {
        Value::Map(map) => {
            let encoded = map.encode().len();
            if encoded > ARGS_BYTES_MAX {
                let detail = format!("{encoded} bytes encoded, at most {ARGS_BYTES_MAX}");
                return Err(ValueError::new(Reason::ArgsTooLarge, 0, detail));
            }
            Ok(map)
        }
        _ => Err(ValueError::new(
            Reason::ArgsNotObject,
            0,
            "the top level is not an object",
        )),
    }
}

/// Reads one JSON value.
///
/// # Errors
/// One of the `ARGS_*` codes, with the place in the text.
pub fn value_from_json(text: &str) -> Result<Value, ValueError> {
    if text.len() > ARGS_BYTES_MAX {
        let detail = format!("{} bytes, at most {ARGS_BYTES_MAX}", text.len());
        return Err(ValueError::new(Reason::ArgsTooLarge, 0, detail));
    }
    let mut parser = Parser {
        text,
        at: 0,
        nodes: 0,
    };
    parser.blank();
    let value = parser.value(0)?;
    parser.blank();
    if parser.at == text.len() {
        Ok(value)
    } else {
        Err(parser.bad("data after the value"))
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bad(&self, detail: &str) -> ValueError {
        ValueError::new(Reason::ArgsBadJson, self.at, detail)
    }

    fn fail(&self, reason: Reason, detail: &str) -> ValueError {
        ValueError::new(reason, self.at, detail)
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, ValueError> {
        self.nodes += 1;
        if self.nodes > ARGS_NODES_MAX {
            return Err(self.fail(Reason::ArgsTooLarge, "too many values"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.eat("null") => Ok(Value::Null),
            _ if self.eat("true") => Ok(Value::Bool(true)),
            _ if self.eat("false") => Ok(Value::Bool(false)),
            _ if self.rest().starts_with("NaN") || self.rest().starts_with("Infinity") => {
                Err(self.fail(Reason::ArgsNonFinite, "a number that is not finite"))
            }
            _ => Err(self.bad("expected a value")),
        }
    }

    fn number(&mut self) -> Result<Value, ValueError> {
        if self.rest().starts_with("-Infinity") {
            return Err(self.fail(Reason::ArgsNonFinite, "a number that is not finite"));
        }
        let rest = self.rest();
        let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
        let literal = rest.get(..end).unwrap_or("");
        let value = number_from_text(literal).map_err(|error| match error {
            NumberError::Spelling => self.bad("a number that is not spelled as JSON does"),
            NumberError::Range => self.fail(Reason::ArgsNumberRange, "a number out of range"),
        })?;
        self.at += end;
        Ok(value)
    }

    fn open(&mut self, depth: usize) -> Result<(), ValueError> {
        if depth >= ARGS_DEPTH_MAX {
            return Err(self.fail(Reason::ArgsTooDeep, "nested more than 16 levels"));
        }
        self.at += 1;
        self.blank();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value, ValueError> {
        self.open(depth)?;
        let mut items = Vec::new();
        if self.eat("]") {
            return Ok(Value::List(items));
        }
        loop {
            if items.len() == LIST_ITEMS_MAX {
                return Err(self.fail(Reason::ArgsTooLarge, "a list with too many items"));
            }
            self.blank();
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.eat("]") {
                return Ok(Value::List(items));
            }
            if !self.eat(",") {
                return Err(self.bad("expected `,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ValueError> {
        self.open(depth)?;
        let mut entries = Vec::new();
        if self.eat("}") {
            return Ok(Value::Map(Map::new()));
        }
        loop {
            if entries.len() == KEYS_MAX {
                return Err(self.fail(Reason::ArgsTooLarge, "an object with too many keys"));
            }
            self.blank();
            entries.push(self.entry(depth)?);
            self.blank();
            if self.eat("}") {
                break;
            }
            if !self.eat(",") {
                return Err(self.bad("expected `,` or `}`"));
            }
        }
        Map::from_entries(entries).map(Value::Map).map_err(|key| {
            self.fail(
                Reason::ArgsDuplicateKey,
                &format!("key `{}`", key.escape_default()),
            )
        })
    }

    fn entry(&mut self, depth: usize) -> Result<(String, Value), ValueError> {
        if self.peek() != Some(b'"') {
            return Err(self.bad("expected a key"));
        }
        let key = self.string()?;
        if !key_is_allowed(&key) {
            return Err(self.fail(Reason::ArgsBadKey, "a key that is not allowed"));
        }
        self.blank();
        if !self.eat(":") {
            return Err(self.bad("expected `:`"));
        }
        self.blank();
        Ok((key, self.value(depth + 1)?))
    }

    fn string(&mut self) -> Result<String, ValueError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest
                .find(|c: char| c == '"' || c == '\\' || c < ' ')
                .ok_or_else(|| self.bad("a text without an end"))?;
            out.push_str(rest.get(..end).unwrap_or(""));
            self.at += end;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.bad("a raw control character in a text")),
            }
            if out.len() > STRING_BYTES_MAX {
                break;
            }
        }
        if out.len() > STRING_BYTES_MAX {
            return Err(self.fail(Reason::ArgsTooLarge, "a text that is too long"));
        }
        if out.contains('\0') {
            return Err(self.fail(Reason::ArgsBadUnicode, "U+0000 in a text"));
        }
        self.at += 1;
        Ok(out)
    }

    fn escape(&mut self) -> Result<char, ValueError> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        match letter {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.code_point(),
            _ => Err(self.bad("an unknown escape")),
        }
    }

    fn code_point(&mut self) -> Result<char, ValueError> {
        let first = self.hex4()?;
        let point = if (0xd800..0xdc00).contains(&first) && self.eat("\\u") {
            let second = self.hex4()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.fail(Reason::ArgsBadUnicode, "a lone surrogate"));
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(point).ok_or_else(|| self.fail(Reason::ArgsBadUnicode, "a lone surrogate"))
    }

    fn hex4(&mut self) -> Result<u32, ValueError> {
        let digits = self
            .rest()
            .get(..4)
            .filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()));
        let point = digits.and_then(|four| u32::from_str_radix(four, 16).ok());
        let point = point.ok_or_else(|| self.bad("an escape without four hex digits"))?;
        self.at += 4;
        Ok(point)
    }
}

pub(super) fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Decimal(decimal) => out.push_str(&decimal.to_string()),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => write_text(out, &URL_SAFE_NO_PAD.encode(bytes)),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Map(map) => write_map(out, map),
    }
}

pub(super) fn write_map(out: &mut String, map: &Map) {
    out.push('{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
