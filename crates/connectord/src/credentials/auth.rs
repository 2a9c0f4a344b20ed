//! How a credential is shown to a system. What a system file may say of it is in `system/file/auth.rs`.

use zeroize::Zeroizing;

use super::oauth::OAuth2;

/// A text with parts of the credential in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// In their order.
    pub pieces: Vec<Piece>,
    /// Names of the parts that the credential has, in their order.
    pub parts: Vec<String>,
}

/// A part of such a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// Which part of the credential, from 0.
    Part(usize),
}

/// How the credential is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic` over this text.
    Basic(Secret),
    /// A header of its own.
    Header(String, Secret),
    /// `Authorization: Bearer` with a token that is asked for.
    OAuth2(Box<OAuth2>),
    /// The password of a database login, by the name of its part.
    Password(String),
}

impl Secret {
    /// The text, from the parts of a credential; none if it has fewer.
    #[must_use]
    pub fn fill(&self, parts: &[Zeroizing<String>]) -> Option<String> {
        let mut out = String::new();
        for piece in &self.pieces {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Part(at) => parts.get(*at)?.as_str(),
            });
        }
        Some(out)
    }
}

impl Auth {
    /// The header that it is shown in, where that is not `Authorization`.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name, _) => Some(name),
            Self::OAuth2(oauth) => oauth.header.as_deref(),
            Self::Bearer(_) | Self::Basic(_) | Self::Password(_) => None,
        }
    }

    /// Names of the parts that the credential has, in their order.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        match self {
            Self::Bearer(secret) | Self::Basic(secret) | Self::Header(_, secret) => &secret.parts,
            Self::OAuth2(oauth) => &oauth.parts,
            Self::Password(part) => std::slice::from_ref(part),
        }
    }
}
