//! Which tenant a request names: by header, by host name, by a prefix of its path. What is named is only a
//! wish; the guards see whether it may be.

use std::borrow::Cow;

use http::{HeaderMap, Uri, header};

use crate::{
    names::{TenantId, TenantIdError},
    problem::Problem,
};

/// The ways that are open; each may be.
#[derive(Debug, Clone, Default)]
pub struct TenantNaming {
    /// The header that holds the id, in lower case.
    pub header: Option<String>,
    /// `example.com` makes `acme.example.com` name tenant `acme`.
    pub host_suffix: Option<String>,
    /// `/t` makes `/t/acme/api/v1/tasks` name tenant `acme` and the path `/api/v1/tasks`.
    pub path_prefix: Option<String>,
}

/// What a request names, and the path that is left for the modules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named<'request> {
    /// Checked to be an id; no [`TenantId`] yet, as most requests get by without one of their own.
    pub(super) tenant: Option<Cow<'request, str>>,
    pub(super) path: &'request str,
}

impl TenantNaming {
    /// Reads the name from a request's head. The host that a trusted proxy was asked for counts for the request's own.
    ///
    /// # Errors
    ///
    /// TENANT_ID_INVALID where a name is no id, or two ways name different tenants.
    pub(super) fn read<'request>(
        &self,
        uri: &'request Uri,
        headers: &'request HeaderMap,
        forwarded_host: Option<&str>,
    ) -> Result<Named<'request>, Problem> {
        let mut tenant = self.by_header(headers)?;
        let mut path = uri.path();
        if let Some(prefix) = &self.path_prefix
            && let Some(rest) = path.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'))
        {
            let (id, left) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
            agree(&mut tenant, Cow::Borrowed(id))?;
            path = left;
        }
        if let Some(suffix) = &self.host_suffix
            && let Some(host) =
                forwarded_host.or_else(|| uri.host()).or_else(|| headers.get(header::HOST)?.to_str().ok())
        {
            let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
            let below = host.len().checked_sub(suffix.len() + 1);
            if let Some((id, rest)) = below.and_then(|at| host.split_at_checked(at))
                && rest.strip_prefix('.').is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            {
                // Host names know no case.
                agree(&mut tenant, Cow::Owned(id.to_ascii_lowercase()))?;
            }
        }
        Ok(Named { tenant, path })
    }

    /// The path that is left for modules, whatever stands in the place of the tenant.
    pub(super) fn path<'request>(&self, uri: &'request Uri) -> &'request str {
        let path = uri.path();
        let below = self.path_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)?.strip_prefix('/'));
        match below {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => path,
        }
    }

    fn by_header<'request>(&self, headers: &'request HeaderMap) -> Result<Option<Cow<'request, str>>, Problem> {
        let Some(name) = &self.header else { return Ok(None) };
        let mut sent = headers.get_all(name.as_str()).iter();
        let Some(first) = sent.next() else { return Ok(None) };
        if sent.next().is_some() {
            return Err(Problem::tenant_named_twice());
        }
        let text = first.to_str().map_err(|_| Problem::tenant_id_invalid(TenantIdError::Character))?;
        TenantId::check(text).map_err(Problem::tenant_id_invalid)?;
        Ok(Some(Cow::Borrowed(text)))
    }
}

fn agree<'request>(tenant: &mut Option<Cow<'request, str>>, text: Cow<'request, str>) -> Result<(), Problem> {
    TenantId::check(&text).map_err(Problem::tenant_id_invalid)?;
    match tenant {
        Some(known) if *known != text => Err(Problem::tenant_named_twice()),
        Some(_) => Ok(()),
        None => {
            *tenant = Some(text);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(
        naming: &TenantNaming,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Option<String>, String), u16> {
        let uri: Uri = uri.parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        naming
            .read(&uri, &map, None)
            .map(|named| (named.tenant.map(|id| id.to_string()), named.path.to_owned()))
            .map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn each_way_names_and_two_must_agree() {
        let naming = TenantNaming {
            header: Some("x-tenant-id".into()),
            host_suffix: Some("example.com".into()),
            path_prefix: Some("/t".into()),
        };
        let some = |id: &str, path: &str| Ok((Some(id.to_owned()), path.to_owned()));
        assert_eq!(read(&naming, "/a", &[("x-tenant-id", "acme")]), some("acme", "/a"));
        assert_eq!(read(&naming, "/t/acme/a/b", &[]), some("acme", "/a/b"));
        assert_eq!(read(&naming, "/t/acme", &[]), some("acme", "/"));
        assert_eq!(read(&naming, "/tea", &[]), Ok((None, "/tea".to_owned())));
        assert_eq!(read(&naming, "/a", &[("host", "Acme.Example.com:8080")]), some("acme", "/a"));
        let (uri, headers) = (Uri::from_static("http://acme.example.com/a"), HeaderMap::new());
        let forwarded = naming.read(&uri, &headers, Some("other.example.com:8443")).unwrap();
        assert_eq!(forwarded.tenant.as_deref(), Some("other"), "what a trusted proxy was asked for counts");
        assert_eq!(read(&naming, "/a", &[("host", "example.com")]), Ok((None, "/a".to_owned())));
        assert_eq!(read(&naming, "/a", &[("host", "evilexample.com")]), Ok((None, "/a".to_owned())));
        assert_eq!(read(&naming, "/t/other/a", &[("x-tenant-id", "acme")]), Err(400));
        assert_eq!(read(&naming, "/t/acme/a", &[("x-tenant-id", "acme")]), some("acme", "/a"));
        for bad in ["../x", "", "a b", &"x".repeat(10_240)] {
            assert_eq!(read(&naming, "/a", &[("x-tenant-id", bad)]), Err(400), "{bad}");
        }
        assert_eq!(read(&naming, "/a", &[("x-tenant-id", "a"), ("x-tenant-id", "a")]), Err(400));
        assert_eq!(read(&TenantNaming::default(), "/t/x", &[("x-tenant-id", "a")]), Ok((None, "/t/x".to_owned())));
    }
}
