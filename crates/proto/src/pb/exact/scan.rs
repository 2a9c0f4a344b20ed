//! Walks the bytes of a message by its descriptor, and finds what a lenient decoder passes over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::pb::FILE_DESCRIPTOR_SET;

/// How deep messages may lie within messages.
const DEPTH_MAX: usize = 16;
/// Bytes of the longest varint.
const VARINT_BYTES_MAX: usize = 10;

struct Field {
    kind: Type,
    /// Full name of the message that it holds.
    message: String,
    repeated: bool,
    /// The choice of which it is one, by its place.
    choice: Option<i32>,
}

/// Every message by its full name, and which of them a method takes.
struct Schema {
    messages: BTreeMap<String, BTreeMap<u32, Field>>,
    requests: BTreeSet<String>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let (mut messages, mut requests) = (BTreeMap::new(), BTreeSet::new());
    for file in &set.file {
        for message in &file.message_type {
            add(&mut messages, file.package(), message);
        }
        for method in file.service.iter().flat_map(|service| &service.method) {
            requests.insert(method.input_type().trim_start_matches('.').to_owned());
        }
    }
    Schema { messages, requests }
});

fn add(
    messages: &mut BTreeMap<String, BTreeMap<u32, Field>>,
    package: &str,
    message: &DescriptorProto,
) {
    let name = format!("{package}.{}", message.name());
    for inner in &message.nested_type {
        add(messages, &name, inner);
    }
    let of = |field: &FieldDescriptorProto| {
        let number = u32::try_from(field.number()).ok()?;
        let one = Field {
            kind: field.r#type(),
            message: field.type_name().trim_start_matches('.').to_owned(),
            repeated: field.label() == Label::Repeated,
            choice: field.oneof_index,
        };
        Some((number, one))
    };
    messages.insert(name, message.field.iter().filter_map(of).collect());
}

/// Whether a method takes this message.
pub(super) fn is_request(name: &str) -> bool {
    SCHEMA.requests.contains(name)
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number in as few bytes as it needs.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for at in 0..VARINT_BYTES_MAX {
            let [byte] = *self.take(1)? else { return None };
            let shift = u32::try_from(at).ok()?.checked_mul(7)?;
            let part = u64::from(byte & 0x7f);
            let shifted = part.checked_shl(shift)?;
            (shifted >> shift == part).then_some(())?;
            number |= shifted;
            if byte & 0x80 == 0 {
                return (at == 0 || byte != 0).then_some(number);
            }
        }
        None
    }

    fn chunk(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.varint()?).ok()?;
        self.take(count)
    }
}

/// Whether a number is one of its type, and no other number cut short.
fn fits(kind: Type, number: u64) -> bool {
    // What is negative is sent as 64 bits.
    let signed = i64::from_ne_bytes(number.to_ne_bytes());
    match kind {
        Type::Bool => number <= 1,
        Type::Uint32 | Type::Sint32 => u32::try_from(number).is_ok(),
        Type::Int32 | Type::Enum => i32::try_from(signed).is_ok(),
        _ => true,
    }
}

/// One value of a field; the wire type must be that of its type.
fn value(field: &Field, wire: u64, bytes: &mut Bytes<'_>, depth: usize) -> Option<()> {
    match (field.kind, wire) {
        (Type::Double | Type::Fixed64 | Type::Sfixed64, 1) => bytes.take(8).map(drop),
        (Type::Float | Type::Fixed32 | Type::Sfixed32, 5) => bytes.take(4).map(drop),
        (Type::String | Type::Bytes, 2) => bytes.chunk().map(drop),
        (Type::Message, 2) => message(&field.message, bytes.chunk()?, depth.checked_add(1)?),
        (Type::Group, _) => None,
        (kind, 0) => fits(kind, bytes.varint()?).then_some(()),
        // Numbers that are repeated come packed, as every runtime writes them.
        (kind, 2) if field.repeated => {
            let mut packed = Bytes(bytes.chunk()?);
            while !packed.0.is_empty() {
                fits(kind, packed.varint()?).then_some(())?;
            }
            Some(())
        }
        _ => None,
    }
}

/// None where a byte of a message is none that its descriptor explains.
pub(super) fn message(name: &str, bytes: &[u8], depth: usize) -> Option<()> {
    let fields = SCHEMA.messages.get(name).filter(|_| depth <= DEPTH_MAX)?;
    let (mut seen, mut chosen) = (BTreeSet::new(), BTreeSet::new());
    let mut bytes = Bytes(bytes);
    while !bytes.0.is_empty() {
        let key = bytes.varint()?;
        let number = u32::try_from(key >> 3).ok()?;
        let field = fields.get(&number)?;
        let first = seen.insert(number);
        if !field.repeated && !first {
            return None;
        }
        if let Some(choice) = field.choice.filter(|_| first)
            && !chosen.insert(choice)
        {
            return None;
        }
        value(field, key & 7, &mut bytes, depth)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_exact(name: &str, bytes: &[u8]) -> bool {
        message(name, bytes, 0).is_some()
    }

    #[test]
    fn every_message_that_a_request_can_hold_is_known() {
        assert!(SCHEMA.requests.len() > 35);
        for name in &SCHEMA.requests {
            assert!(SCHEMA.messages.contains_key(name), "{name}");
        }
        for (name, fields) in &SCHEMA.messages {
            for field in fields.values().filter(|field| field.kind == Type::Message) {
                let inner = &field.message;
                assert!(SCHEMA.messages.contains_key(inner), "{name}: {inner}");
            }
        }
    }

    #[test]
    fn a_number_has_one_form_and_fits_its_type() {
        // seconds is int64, nanos int32.
        let name = "google.protobuf.Timestamp";
        for (bytes, exact) in [
            (&[][..], true),
            (&[0x08, 0x05], true),
            (&[0x08, 0x00], true),
            (&[0x10, 0x01, 0x08, 0x05], true),
            (&[0x08, 0x85, 0x00], false),
            (&[0x08, 0x05, 0x08, 0x05], false),
            (&[0x08], false),
            (&[0x08, 0x85], false),
            // -1 as 64 bits, as 32, and one bit too many.
            (&[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], true),
            (&[0x10, 255, 255, 255, 255, 0x0f], false),
            (&[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 3], false),
            // Another wire type, another field, a key in two bytes.
            (&[0x0d, 1, 0, 0, 0], false),
            (&[0x18, 0x01], false),
            (&[0x88, 0x00, 0x05], false),
        ] {
            assert_eq!(is_exact(name, bytes), exact, "{bytes:02x?}");
        }
        assert!(!is_exact("writ.v1.Nothing", &[]));
        // confidence_percent is uint32: prost would cut the second to 0.
        let name = "writ.v1.AuthorizeRequest";
        assert!(is_exact(name, &[0x48, 0xff, 0xff, 0xff, 0xff, 0x0f]));
        assert!(!is_exact(name, &[0x48, 0x80, 0x80, 0x80, 0x80, 0x10]));
    }

    #[test]
    fn requests_are_exact_and_answers_need_not_be() {
        assert!(is_request("writ.v1.AuthorizeRequest"));
        assert!(!is_request("writ.v1.AuthorizeResponse"));
        assert!(!is_request("writ.v1.Decision"));
    }
}
