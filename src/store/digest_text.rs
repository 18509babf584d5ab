//! `#[serde(with)]`: a [`Digest`] inside a stored record. Only records are written so; a digest has
//! no serialization of its own, so that none slips into an answer.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use crate::secret::Digest;

pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&digest.to_text())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
    Digest::from_text(&text).ok_or_else(|| D::Error::custom("no digest"))
}

/// The same for one that may be missing.
pub(super) mod option {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::secret::Digest;

    pub(in crate::store) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.serialize_some(&digest.to_text()),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Digest>, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else {
            return Ok(None);
        };
        let digest = Digest::from_text(&text);
        digest
            .map(Some)
            .ok_or_else(|| D::Error::custom("no digest"))
    }
}

/// The same for several.
pub(super) mod list {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::secret::Digest;

    pub(in crate::store) fn serialize<S: Serializer>(
        digests: &[Digest],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(digests.iter().map(Digest::to_text))
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<Digest>, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        let digests = texts.iter().map(|text| Digest::from_text(text));
        let digests = digests.collect::<Option<_>>();
        digests.ok_or_else(|| D::Error::custom("no digest"))
    }
}
