//! Tickets for change streams. A browser's `EventSource` sends no headers, so the address of a stream has to prove the
//! tenant by itself: it carries a ticket that was given to somebody who had proved it, is good for a few minutes and says
//! nothing that is worth keeping. Signed by HMAC-SHA256 (RFC 2104) with a key that hosts may share.

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{
    admin_token::{AdminToken, AdminTokenError},
    error::IdentityError,
};
use crate::names::TenantId;

/// What is signed begins so: another use of the same key would make other signatures.
const PURPOSE: &[u8] = b"tenon ticket 1, flags:read\n";

/// Where a ticket came from a token, in the place of the key's id. No key is called so.
const BY_TOKEN: &str = "-";

/// Signs and verifies tickets. `Debug` does not show the key.
#[derive(Clone)]
pub struct TicketKey(Hmac<Sha256>);

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Which tenant it proves.
    pub tenant: TenantId,
    /// The API key by which the tenant was proved; `None`: it was a token. With the key the ticket ends.
    pub key: Option<String>,
    /// Until when a stream may be opened, in seconds since 1970.
    pub expires: u64,
}

impl TicketKey {
    /// Reads the key that hosts share; at least 32 visible characters, white space around them left out.
    ///
    /// # Errors
    ///
    /// The file can't be read, is open to everyone, or holds no key.
    pub fn load(path: &Path) -> Result<Self, AdminTokenError> {
        Ok(Self::new(AdminToken::load(path)?.as_str().as_bytes()))
    }

    /// Reads this host's own key, or makes one where there is no file, as [`AdminToken::load_or_create`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn load_or_create(path: &Path) -> Result<Self, AdminTokenError> {
        Ok(Self::new(AdminToken::load_or_create(path)?.as_str().as_bytes()))
    }

    /// A key of one's own.
    pub fn new(secret: &[u8]) -> Self {
        Self(<Hmac<Sha256> as Mac>::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// Writes a ticket: characters that a query needs not escape. The same ticket is always the same text.
    pub fn sign(&self, ticket: &Ticket) -> String {
        let tenant = URL_SAFE_NO_PAD.encode(ticket.tenant.as_str());
        let said = format!("{}.{tenant}.{}", ticket.expires, ticket.key.as_deref().unwrap_or(BY_TOKEN));
        let signature = URL_SAFE_NO_PAD.encode(self.over(&said).finalize().into_bytes());
        format!("{said}.{signature}")
    }

    /// Reads a ticket, `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Ticket`]: it is none of this key's, or its time is over.
    pub fn verify(&self, text: &str, now: u64) -> Result<Ticket, IdentityError> {
        let malformed = || IdentityError::Ticket("is malformed");
        let (said, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        // In constant time.
        self.over(said).verify_slice(&signature).map_err(|_| IdentityError::Ticket("has a wrong signature"))?;
        let [expires, tenant, key] = *said.split('.').collect::<Vec<_>>() else { return Err(malformed()) };
        let expires = expires.parse().map_err(|_| malformed())?;
        let tenant = URL_SAFE_NO_PAD.decode(tenant).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let tenant = tenant.and_then(|id| id.parse().ok()).ok_or_else(malformed)?;
        if expires <= now {
            return Err(IdentityError::Ticket("has expired"));
        }
        Ok(Ticket { tenant, key: Some(key).filter(|key| *key != BY_TOKEN).map(str::to_owned), expires })
    }

    fn over(&self, said: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(PURPOSE).chain_update(said)
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(tenant: &str, key: Option<&str>) -> Ticket {
        Ticket { tenant: tenant.parse().unwrap(), key: key.map(str::to_owned), expires: 100 }
    }

    #[test]
    fn a_ticket_says_what_it_said_until_it_is_over() {
        let key = TicketKey::new(b"one");
        for ticket in [ticket("a.b-c_d", Some("5f1c")), ticket("acme", None)] {
            let text = key.sign(&ticket);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{text}");
            assert_eq!((key.verify(&text, 99).as_ref(), key.sign(&ticket)), (Ok(&ticket), text.clone()));
            assert_eq!(key.verify(&text, 100), Err(IdentityError::Ticket("has expired")));
            let other = TicketKey::new(b"two").verify(&text, 0);
            assert_eq!(other, Err(IdentityError::Ticket("has a wrong signature")));
            for changed in [text.replacen("100", "101", 1), text.replacen("YW", "YX", 1), text.replacen("YS", "YT", 1)]
            {
                if changed != text {
                    assert_eq!(
                        key.verify(&changed, 0),
                        Err(IdentityError::Ticket("has a wrong signature")),
                        "{changed}"
                    );
                }
            }
            for bad in ["", ".", "100", &text[..text.len() - 1], &text[4..]] {
                assert!(key.verify(bad, 0).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn hosts_that_share_a_file_accept_each_other_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ticket.key");
        assert!(TicketKey::load(&path).is_err(), "a shared key is not made here");
        let one = TicketKey::load_or_create(&path).unwrap();
        let other = TicketKey::load(&path).unwrap();
        let ticket = ticket("acme", None);
        assert_eq!(other.verify(&one.sign(&ticket), 0), Ok(ticket));
        assert_eq!(format!("{one:?}"), "TicketKey(..)");
    }
}
