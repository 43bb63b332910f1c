//! How a collection's documents and entries are named, so that the bytewise order of strings, which is the server's, is
//! the order of ids and of values. Readable where it can be: `acme/hr-core/Person/1` is a document,
//! `acme/hr-core/Person/email=…` an entry.

use base64::{
    Engine,
    alphabet::Alphabet,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::{
    names::TenantId,
    stores::{CollectionKey, ModelFields, entries::Entry},
};

/// Sixty-four characters in the order of their bytes, so that encoding keeps the order of byte strings.
const ORDERED: &str = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &match Alphabet::new(ORDERED) {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("the alphabet has 64 different characters"),
    },
    NO_PAD,
);

/// What all of a tenant's keys begin with.
pub(super) fn of_tenant(tenant: &TenantId) -> String {
    format!("{tenant}/")
}

/// What all keys of a collection begin with. Names of tenants and modules have no `/`; those of models, which a store
/// can't know to be as harmless, are escaped.
pub(super) fn of_collection(at: &CollectionKey) -> String {
    format!("{}/{}/{}/", at.tenant, at.module, utf8_percent_encode(&at.model, NON_ALPHANUMERIC))
}

/// The collection whose keys begin so.
pub(super) fn to_collection(prefix: &str) -> Option<CollectionKey> {
    let mut parts = prefix.strip_suffix('/')?.splitn(3, '/');
    let (tenant, module) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let model = percent_decode_str(parts.next()?).decode_utf8().ok()?.into_owned();
    Some(CollectionKey { tenant, module, model })
}

/// The lowest string above all that begin with this one, which ends with a slash.
pub(super) fn end_of(prefix: &str) -> String {
    let before = prefix.strip_suffix('/').unwrap_or(prefix);
    format!("{before}0")
}

/// What all entries of a field begin with.
pub(super) fn of_field(collection: &str, field: &str) -> String {
    format!("{collection}{}=", utf8_percent_encode(field, NON_ALPHANUMERIC))
}

/// The entry of a field with an encoded value, or a bound of such entries.
pub(super) fn entry(collection: &str, field: &str, value: &[u8]) -> String {
    let mut entry = of_field(collection, field);
    ENGINE.encode_string(value, &mut entry);
    entry
}

/// The encoded value of an entry of this field.
pub(super) fn value_of(collection: &str, field: &str, entry: &str) -> Option<Vec<u8>> {
    ENGINE.decode(entry.strip_prefix(&of_field(collection, field))?).ok()
}

/// All entries of a document, and those that no other document may have.
pub(super) fn entries(collection: &str, entries: &[Entry]) -> (Vec<String>, Vec<String>) {
    let name = |each: &Entry| entry(collection, &each.field, &each.value);
    (entries.iter().map(name).collect(), entries.iter().filter(|each| each.unique).map(name).collect())
}

/// By which fields a document's entries were made; `fields` are in their normal form.
pub(super) fn by(collection: &str, fields: &ModelFields) -> String {
    let text = serde_json::json!([fields.unique, fields.index]).to_string();
    format!("{collection}{}", ENGINE.encode(&Sha256::digest(text)[..12]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn people() -> String {
        let at = CollectionKey { tenant: "a".parse().unwrap(), module: "m".parse().unwrap(), model: "P/ä".to_owned() };
        of_collection(&at)
    }

    proptest! {
        #[test]
        fn entries_have_the_order_of_their_values(left: Vec<u8>, right: Vec<u8>) {
            let (collection, name) = (people(), |value: &[u8]| entry(&people(), "a=b", value));
            prop_assert_eq!(name(&left).cmp(&name(&right)), left.cmp(&right));
            prop_assert_eq!(value_of(&collection, "a=b", &name(&left)), Some(left));
        }

        #[test]
        fn what_begins_with_a_key_lies_between_its_bounds(id in ".+", other in ".*") {
            let (from, to) = (people(), end_of(&people()));
            let inside = |key: &str| key >= from.as_str() && key < to.as_str();
            prop_assert!(inside(&[from.as_str(), &id].concat()));
            prop_assert_eq!(inside(&other), other.starts_with(&from));
        }
    }

    #[test]
    fn a_field_does_not_begin_another() {
        assert_eq!(people(), "a/m/P%2F%C3%A4/");
        assert_eq!(value_of(&people(), "a", &entry(&people(), "a=b", b"x")), None);
    }
}
