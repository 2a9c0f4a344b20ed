//! Deterministic CBOR (RFC 8949 4.2.1): the encoder, and a strict decoder that accepts exactly
//! what the encoder writes. Everything else is refused: long heads, indefinite lengths, unsorted
//! or duplicate keys, floats, other tags and simple values, trailing bytes.

use super::{Decimal, Map, Value, ValueError, key_is_allowed};
use crate::limits::{
    ARGS_BYTES_MAX, ARGS_DEPTH_MAX, ARGS_NODES_MAX, KEYS_MAX, LIST_ITEMS_MAX, STRING_BYTES_MAX,
};
use crate::reason::Reason;

const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
const TAG_DECIMAL: u64 = 4;

/// Writes the shortest head of a major type and its argument.
pub(crate) fn write_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let top = major << 5;
    let bytes = argument.to_be_bytes();
    let [_, _, _, _, b4, b5, b6, b7] = bytes;
    match argument {
        0..=23 => out.push(top | b7),
        24..=0xff => out.extend_from_slice(&[top | 24, b7]),
        0x100..=0xffff => out.extend_from_slice(&[top | 25, b6, b7]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[top | 26, b4, b5, b6, b7]),
        _ => {
            out.push(top | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Writes a signed integer.
pub(crate) fn write_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        write_head(out, NINT, (!value).unsigned_abs());
    } else {
        write_head(out, UINT, value.unsigned_abs());
    }
}

/// Writes text.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, TEXT, length(text.len()));
    out.extend_from_slice(text.as_bytes());
}

/// Writes a byte string.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, BYTES, length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Writes the head of an array.
pub(crate) fn write_array(out: &mut Vec<u8>, items: usize) {
    write_head(out, ARRAY, length(items));
}

/// Writes the head of a map.
pub(crate) fn write_map_head(out: &mut Vec<u8>, entries: usize) {
    write_head(out, MAP, length(entries));
}

pub(crate) fn write_null(out: &mut Vec<u8>) {
    out.push(0xf6);
}

pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => write_null(out),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Int(number) => write_int(out, *number),
        Value::Decimal(decimal) => {
            write_head(out, TAG, TAG_DECIMAL);
            write_array(out, 2);
            write_int(out, decimal.exponent());
            write_int(out, decimal.mantissa());
        }
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::List(items) => {
            write_array(out, items.len());
            for item in items {
                write_value(out, item);
            }
        }
        Value::Map(map) => write_map(out, map),
    }
}

pub(super) fn write_map(out: &mut Vec<u8>, map: &Map) {
    write_map_head(out, map.len());
    for (key, value) in map.iter() {
        write_text(out, key);
        write_value(out, value);
    }
}

/// One decoded head: what follows and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Uint(u64),
    Nint(u64),
    Bytes(u64),
    Text(u64),
    Array(u64),
    Map(u64),
    Tag(u64),
    False,
    True,
    Null,
}

/// Reads heads and bodies and refuses every encoding that is not the shortest.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What is wrong with the bytes, without where.
pub(crate) type Flaw = &'static str;

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], Flaw> {
        let count = usize::try_from(count).map_err(|_| "a length beyond the end")?;
        let end = self
            .at
            .checked_add(count)
            .ok_or("a length beyond the end")?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or("a length beyond the end")?;
        self.at = end;
        Ok(taken)
    }

    fn argument(&mut self, low: u8) -> Result<u64, Flaw> {
        let (count, least): (u64, u64) = match low {
            0..=23 => return Ok(u64::from(low)),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            31 => return Err("an indefinite length"),
            _ => return Err("a reserved head"),
        };
        let value = self
            .take(count)?
            .iter()
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        if value < least {
            Err("a head longer than needed")
        } else {
            Ok(value)
        }
    }

    pub(crate) fn head(&mut self) -> Result<Head, Flaw> {
        let first = match self.take(1)? {
            [byte] => *byte,
            _ => return Err("the end of the bytes"),
        };
        let (major, low) = (first >> 5, first & 0x1f);
        if major == SIMPLE {
            return match low {
                20 => Ok(Head::False),
                21 => Ok(Head::True),
                22 => Ok(Head::Null),
                25..=27 => Err("a float"),
                _ => Err("a simple value"),
            };
        }
        let argument = self.argument(low)?;
        match major {
            UINT => Ok(Head::Uint(argument)),
            NINT => Ok(Head::Nint(argument)),
            BYTES => Ok(Head::Bytes(argument)),
            TEXT => Ok(Head::Text(argument)),
            ARRAY => Ok(Head::Array(argument)),
            MAP => Ok(Head::Map(argument)),
            TAG => Ok(Head::Tag(argument)),
            _ => Err("an unknown major type"),
        }
    }

    pub(crate) fn text(&mut self, count: u64) -> Result<&'a str, Flaw> {
        core::str::from_utf8(self.take(count)?).map_err(|_| "text that is not UTF-8")
    }

    pub(crate) fn int(&mut self) -> Result<i64, Flaw> {
        match self.head()? {
            Head::Uint(n) => i64::try_from(n).map_err(|_| "an integer over 64 bits"),
            Head::Nint(n) => i64::try_from(n)
                .map(|n| !n)
                .map_err(|_| "an integer over 64 bits"),
            _ => Err("something else than an integer"),
        }
    }
}

struct Decoder<'a> {
    reader: Reader<'a>,
    nodes: usize,
}

impl Decoder<'_> {
    fn count(&self, count: u64, most: usize) -> Result<usize, Flaw> {
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= most)
            .ok_or("too many items")
    }

    fn value(&mut self, depth: usize) -> Result<Value, Flaw> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > ARGS_NODES_MAX {
            return Err("too many values");
        }
        match self.reader.head()? {
            Head::Null => Ok(Value::Null),
            Head::False => Ok(Value::Bool(false)),
            Head::True => Ok(Value::Bool(true)),
            Head::Uint(n) => i64::try_from(n)
                .map(Value::Int)
                .map_err(|_| "an integer over 64 bits"),
            Head::Nint(n) => i64::try_from(n)
                .map(|n| Value::Int(!n))
                .map_err(|_| "an integer over 64 bits"),
            Head::Bytes(n) => {
                self.count(n, STRING_BYTES_MAX)?;
                Ok(Value::Bytes(self.reader.take(n)?.to_vec()))
            }
            Head::Text(n) => self.text(n).map(Value::Text),
            Head::Array(n) => self.list(n, depth),
            Head::Map(n) => self.map(n, depth).map(Value::Map),
            Head::Tag(TAG_DECIMAL) => self.decimal(),
            Head::Tag(_) => Err("a tag that is not allowed"),
        }
    }

    fn text(&mut self, count: u64) -> Result<String, Flaw> {
        self.count(count, STRING_BYTES_MAX)?;
        let text = self.reader.text(count)?;
        if text.contains('\0') {
            Err("U+0000 in a text")
        } else {
            Ok(text.to_owned())
        }
    }

    fn decimal(&mut self) -> Result<Value, Flaw> {
        if self.reader.head()? != Head::Array(2) {
            return Err("a decimal that is not a pair");
        }
        let (exponent, mantissa) = (self.reader.int()?, self.reader.int()?);
        Decimal::new(exponent, mantissa)
            .map(Value::Decimal)
            .ok_or("a decimal that is not reduced")
    }

    fn list(&mut self, count: u64, depth: usize) -> Result<Value, Flaw> {
        let count = self.count(count, LIST_ITEMS_MAX)?;
        if depth >= ARGS_DEPTH_MAX {
            return Err("nesting that is too deep");
        }
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(self.value(depth.saturating_add(1))?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, count: u64, depth: usize) -> Result<Map, Flaw> {
        let count = self.count(count, KEYS_MAX)?;
        if depth >= ARGS_DEPTH_MAX {
            return Err("nesting that is too deep");
        }
        let mut map = Map::new();
        for _ in 0..count {
            let Head::Text(length) = self.reader.head()? else {
                return Err("a key that is not text");
            };
            let key = self.reader.text(length)?;
            if !key_is_allowed(key) {
                return Err("a key that is not allowed");
            }
            let value = self.value(depth.saturating_add(1))?;
            if !map.push_ordered(key.to_owned(), value) {
                return Err("keys out of order or twice");
            }
        }
        Ok(map)
    }
}

/// Decodes one value and proves that the bytes are its canonical encoding.
///
/// # Errors
/// `ARGS_NOT_CANONICAL`, or `ARGS_TOO_LARGE` for the size alone.
pub fn value_from_cbor(bytes: &[u8]) -> Result<Value, ValueError> {
    if bytes.len() > ARGS_BYTES_MAX {
        let detail = format!("{} bytes, at most {ARGS_BYTES_MAX}", bytes.len());
        return Err(ValueError::new(Reason::ArgsTooLarge, 0, detail));
    }
    let mut decoder = Decoder {
        reader: Reader::new(bytes),
        nodes: 0,
    };
    let decoded = decoder.value(0).and_then(|value| {
        if decoder.reader.is_done() {
            Ok(value)
        } else {
            Err("trailing bytes")
        }
    });
    let at = decoder.reader.at();
    decoded.map_err(|flaw| ValueError::new(Reason::ArgsNotCanonical, at, flaw))
}

/// Decodes the first value of some bytes and gives back the rest, for outer forms that are not
/// values themselves, such as the integer-labelled map of a record leaf. For bytes of our own
/// stores: the whole may be longer than arguments may be, each value keeps the other limits.
///
/// # Errors
/// `ARGS_NOT_CANONICAL`.
pub fn first_from_cbor(bytes: &[u8]) -> Result<(Value, &[u8]), ValueError> {
    let mut decoder = Decoder {
        reader: Reader::new(bytes),
        nodes: 0,
    };
    let decoded = decoder.value(0);
    let at = decoder.reader.at();
    let value = decoded.map_err(|flaw| ValueError::new(Reason::ArgsNotCanonical, at, flaw))?;
    Ok((value, bytes.get(at..).unwrap_or_default()))
}

/// Decodes arguments, which are a map, and proves that the bytes are canonical.
///
/// # Errors
/// `ARGS_NOT_CANONICAL`, or `ARGS_TOO_LARGE` for the size alone.
pub fn args_from_cbor(bytes: &[u8]) -> Result<Map, ValueError> {
    match value_from_cbor(bytes)? {
        Value::Map(map) => Ok(map),
        _ => Err(ValueError::new(
            Reason::ArgsNotCanonical,
            0,
            "arguments that are not a map",
        )),
    }
}
