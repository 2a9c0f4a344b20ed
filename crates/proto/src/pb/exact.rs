//! Requests as their schema says, byte for byte. What this version does not know of a request is refused instead of left
//! out: another field, a field that came twice, two of a choice, a number in more bytes than it needs or too large for its
//! type. The order of fields is free, and a default may be said. An answer may hold more than is known.

mod scan;

use core::marker::PhantomData;

use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// The metadata of a status with which a message was refused before its service saw it; `host` knows it by the same name.
const UNREAD: &str = "writ-unread";

const NOT_EXACT: &str = "the request holds something that this version does not know, or the same twice";
const TWO: &str = "the call sends a second message, and its method takes one";
const NOT_READ: &str = "the request is no message of this method";

/// Encodes like prost, and decodes exactly.
#[derive(Debug, Clone)]
pub struct ExactCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ExactCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ExactCodec<T, U>
where
    T: prost::Message + Send + 'static,
    U: prost::Message + prost::Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ExactDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ExactDecoder {
            seen: false,
            kind: PhantomData,
        }
    }
}

/// Decodes one kind of message. No method takes more than one request.
#[derive(Debug, Clone)]
pub struct ExactDecoder<U> {
    seen: bool,
    kind: PhantomData<U>,
}

impl<U> Decoder for ExactDecoder<U>
where
    U: prost::Message + prost::Name + Default,
{
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let name = U::full_name();
        if !scan::is_request(&name) {
            let answer = U::decode(bytes);
            return answer
                .map(Some)
                .map_err(|_| Status::internal("the answer is no message of this method"));
        }
        if core::mem::replace(&mut self.seen, true) {
            return Err(unread(TWO));
        }
        let sent = prost::bytes::Buf::copy_to_bytes(bytes, prost::bytes::Buf::remaining(bytes));
        let message = U::decode(sent.clone()).map_err(|_| unread(NOT_READ))?;
        match scan::message(&name, &sent, 0) {
            Some(()) => Ok(Some(message)),
            None => Err(unread(NOT_EXACT)),
        }
    }
}

fn unread(why: &'static str) -> Status {
    let mut status = Status::invalid_argument(why);
    let metadata = status.metadata_mut();
    metadata.insert(UNREAD, tonic::metadata::MetadataValue::from_static(why));
    status
}

#[cfg(all(test, feature = "host"))]
mod tests {
    #[test]
    fn the_host_knows_the_header() {
        assert_eq!(super::UNREAD, crate::host::serve::paced::UNREAD);
    }
}
