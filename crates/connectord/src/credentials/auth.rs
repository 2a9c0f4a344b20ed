//! How a credential is shown to a system. What a system file may say of it is in `system/file/auth.rs`.

/// A text with parts of the credential in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// In their order.
    pub pieces: Vec<Piece>,
    /// How many parts the credential has.
    pub parts: usize,
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
    /// The password of a database login.
    Password,
}

impl Secret {
    /// The text, from the parts of a credential; none if it has fewer.
    #[must_use]
    pub fn fill(&self, parts: &[&str]) -> Option<String> {
        let mut out = String::new();
        for piece in &self.pieces {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Part(at) => parts.get(*at)?,
            });
        }
        Some(out)
    }
}

impl Auth {
    /// How many parts the credential has.
    #[must_use]
    pub const fn parts(&self) -> usize {
        match self {
            Self::Bearer(secret) | Self::Basic(secret) | Self::Header(_, secret) => secret.parts,
            Self::Password => 1,
        }
    }
}
