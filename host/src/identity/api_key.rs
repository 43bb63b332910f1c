//! Keys by which programs prove a tenant. The text names the tenant and the key, so that nobody has to look through all
//! tenants, and ends with the secret: `tenon_` and the tenant's id as base64url, `.`, the key's id, `.`, 256 random bits as
//! base64url. Only a SHA-256 over all of it is kept: of so many random bits nothing can be guessed from it, and a tenant's
//! document that somebody copies to another id makes no key of the one tenant a key of the other.

use std::fmt::{self, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{bearer::bearer_token, error::IdentityError};
use crate::{
    names::TenantId,
    stores::{ApiKey, KeyHash},
};

/// Where keys are sent, in place of `Authorization: Bearer`.
const HEADER: &str = "x-api-key";

/// How every key begins. No other token does: a JSON Web Token begins with JSON in base64url.
const PREFIX: &str = "tenon_";

/// Lets ask for flags.
pub const FLAGS_READ: &str = "flags:read";

/// All that a key can be made for.
pub const KEY_SCOPES: &[&str] = &[FLAGS_READ];

/// A key as somebody presents it: well-formed, and nothing is proven yet. `Debug` shows nothing of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedKey {
    tenant: TenantId,
    id: String,
    /// As keys are kept, and as they were kept before that was bound to tenant and id.
    hashes: [KeyHash; 2],
}

/// A new key.
pub struct NewKey {
    /// What is kept.
    pub stored: ApiKey,
    /// The key itself; it can't be had again.
    pub text: String,
}

/// What a key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWish {
    /// For people.
    pub name: String,
    /// Of [`KEY_SCOPES`].
    pub scopes: Vec<String>,
    /// From then on it proves nothing.
    pub expires_at: Option<Timestamp>,
    /// Who makes it.
    pub created_by: String,
}

impl PresentedKey {
    /// Reads a key; `None` where the text is none, by whatever host it were made.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('.');
        let (tenant, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let tenant = String::from_utf8(URL_SAFE_NO_PAD.decode(tenant).ok()?).ok()?.parse().ok()?;
        let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        let hashes = [hash(&tenant, id, &secret), KeyHash(Sha256::digest(secret).into())];
        Some(Self { tenant, id: id.to_owned(), hashes })
    }

    /// The key that a request presents, in `X-API-Key` or as bearer token; `None` where it presents none, or a token of
    /// another kind.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Header`] for two that differ, [`IdentityError::ApiKey`] for what is no key.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, IdentityError> {
        let mut sent = headers.get_all(HEADER).iter();
        let own = sent.next().map(|value| value.to_str().map_err(|_| IdentityError::ApiKey("is malformed")));
        let (own, bearer) = (own.transpose()?, bearer_token(headers)?);
        // Which of two would count is a question that must not be answered differently by a proxy and by this host.
        if sent.next().is_some() || (own.is_some() && bearer.is_some() && own != bearer) {
            return Err(IdentityError::Header);
        }
        match own.or_else(|| bearer.filter(|token| token.starts_with(PREFIX))) {
            Some(text) => Self::parse(text).map(Some).ok_or(IdentityError::ApiKey("is malformed")),
            None => Ok(None),
        }
    }

    /// Which tenant it claims to prove.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Finds the key among its tenant's. It takes the same time wherever the first difference of a wrong secret is.
    ///
    /// # Errors
    ///
    /// [`IdentityError::ApiKey`]: it is none of them, or its time is over.
    pub fn verify<'keys>(&self, keys: &'keys [ApiKey], now: Timestamp) -> Result<&'keys ApiKey, IdentityError> {
        let found =
            keys.iter().find(|key| key.id == self.id).ok_or(IdentityError::ApiKey("is unknown, or was revoked"))?;
        let [now_kept, once_kept] = self.hashes.each_ref().map(|hash| found.hash.0.ct_eq(&hash.0));
        if !bool::from(now_kept | once_kept) {
            return Err(IdentityError::ApiKey("has a wrong secret"));
        }
        if is_over(found, now) {
            return Err(IdentityError::ApiKey("has expired"));
        }
        Ok(found)
    }
}

/// What is kept of a key. The two ways of hashing can't meet: a secret alone is shorter than this.
fn hash(tenant: &TenantId, id: &str, secret: &[u8; 32]) -> KeyHash {
    let hash = Sha256::new_with_prefix("tenon key 2\n").chain_update(tenant.as_str()).chain_update("\n");
    KeyHash(hash.chain_update(id).chain_update("\n").chain_update(secret).finalize().into())
}

/// Whether a key's time is over.
pub fn is_over(key: &ApiKey, now: Timestamp) -> bool {
    key.expires_at.is_some_and(|end| end <= now)
}

impl NewKey {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// Where the system has no randomness to give.
    pub fn make(tenant: &TenantId, wish: KeyWish, now: Timestamp) -> Result<Self, getrandom::Error> {
        let (mut number, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut number)?;
        getrandom::fill(&mut secret)?;
        let id = number.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let hash = hash(tenant, &id, &secret);
        let (tenant, shown) = (URL_SAFE_NO_PAD.encode(tenant.as_str()), URL_SAFE_NO_PAD.encode(secret));
        let text = format!("{PREFIX}{tenant}.{id}.{shown}");
        let KeyWish { name, scopes, expires_at, created_by } = wish;
        let stored = ApiKey {
            id,
            name,
            hash,
            scopes,
            created_at: Some(now),
            created_by: Some(created_by),
            expires_at,
            unknown: serde_json::Map::new(),
        };
        Ok(Self { stored, text })
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("stored", &self.stored).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn made(tenant: &str, expires_at: Option<Timestamp>) -> NewKey {
        let wish = KeyWish {
            name: "shop".to_owned(),
            scopes: vec![FLAGS_READ.to_owned()],
            expires_at,
            created_by: "admin".to_owned(),
        };
        NewKey::make(&tenant.parse().unwrap(), wish, at(0)).unwrap()
    }

    #[test]
    fn a_key_names_its_tenant_and_is_found_among_its_keys() {
        for tenant in ["acme", "a.b-c_d", &"x".repeat(128)] {
            let (one, other) = (made(tenant, Some(at(60))), made(tenant, None));
            let presented = PresentedKey::parse(&one.text).unwrap();
            assert_eq!(presented.tenant().as_str(), tenant);
            let keys = [other.stored.clone(), one.stored.clone()];
            assert_eq!(presented.verify(&keys, at(59)).unwrap().id, one.stored.id);
            assert_eq!(presented.verify(&keys, at(60)), Err(IdentityError::ApiKey("has expired")));
            assert_eq!(presented.verify(&keys[..1], at(0)), Err(IdentityError::ApiKey("is unknown, or was revoked")));
            let stolen = [ApiKey { hash: other.stored.hash, ..one.stored.clone() }];
            assert_eq!(presented.verify(&stolen, at(0)), Err(IdentityError::ApiKey("has a wrong secret")));
            let secret = one.text.rsplit('.').next().unwrap();
            assert!(!format!("{one:?}{presented:?}").contains(secret));
        }
    }

    #[test]
    fn a_key_is_one_of_its_tenant_only_and_older_ones_still_are() {
        let key = made("acme", None);
        let [_, id, secret] = *key.text.split('.').collect::<Vec<_>>() else { panic!("{}", key.text) };
        let wrong = Err(IdentityError::ApiKey("has a wrong secret"));
        // The tenant's document stands under another id, or the key under another one of its own.
        let copied = format!("tenon_{}.{id}.{secret}", URL_SAFE_NO_PAD.encode("other"));
        assert_eq!(PresentedKey::parse(&copied).unwrap().verify(std::slice::from_ref(&key.stored), at(0)), wrong);
        let renamed = [ApiKey { id: "0".repeat(16), ..key.stored.clone() }];
        let text = key.text.replacen(id, &"0".repeat(16), 1);
        assert_eq!(PresentedKey::parse(&text).unwrap().verify(&renamed, at(0)), wrong);
        let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).unwrap().try_into().unwrap();
        let old = [ApiKey { hash: KeyHash(Sha256::digest(secret).into()), ..key.stored.clone() }];
        assert_eq!(PresentedKey::parse(&key.text).unwrap().verify(&old, at(0)), Ok(&old[0]));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let key = made("acme", None).text;
        let [head, id, secret] = *key.split('.').collect::<Vec<_>>() else { panic!("{key}") };
        for other in [
            String::new(),
            key[1..].to_owned(),
            key[..key.len() - 1].to_owned(),
            format!("{key}.x"),
            format!("{head}=.{id}.{secret}"),
            format!("{head}.{}.{secret}", &id[1..]),
            format!("{head}.{}.{secret}", "g".repeat(16)),
            format!("{head}.{id}.{secret}A"),
            format!("tenon_{}.{id}.{secret}", URL_SAFE_NO_PAD.encode("../x")),
            format!("tenon_{}.{id}.{secret}", URL_SAFE_NO_PAD.encode([0xff])),
            format!("tenon_.{id}.{secret}"),
        ] {
            assert_eq!(PresentedKey::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn a_request_presents_one_key() {
        let read = |own: &[&str], bearer: Option<&str>| {
            let mut headers = HeaderMap::new();
            for key in own {
                headers.append(HEADER, key.parse().unwrap());
            }
            if let Some(token) = bearer {
                headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            }
            PresentedKey::read(&headers).map(|found| found.map(|key| key.tenant().to_string()))
        };
        let (key, other) = (made("acme", None).text, made("acme", None).text);
        let acme = Ok(Some("acme".to_owned()));
        assert_eq!((read(&[&key], None), read(&[], Some(&key))), (acme.clone(), acme.clone()));
        assert_eq!(read(&[&key], Some(&key)), acme);
        assert_eq!((read(&[], None), read(&[], Some("eyJh.eyJp.c2ln"))), (Ok(None), Ok(None)));
        assert_eq!(read(&[&key], Some(&other)), Err(IdentityError::Header));
        assert_eq!(read(&[&key], Some("eyJh.eyJp.c2ln")), Err(IdentityError::Header));
        assert_eq!(read(&[&key, &key], None), Err(IdentityError::Header));
        let malformed = Err(IdentityError::ApiKey("is malformed"));
        assert_eq!((read(&["7"], None), read(&[], Some("tenon_7"))), (malformed.clone(), malformed));
    }
}
