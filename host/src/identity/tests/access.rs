//! Who may do what: every combination of token, named tenant and endpoint.

use super::super::*;
use crate::names::TenantId;

fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

fn caller(tenant: TenantProof, roles: &[&str]) -> Caller {
    let roles = roles.iter().map(|role| (*role).into()).collect();
    Caller { subject: Some("ann".into()), tenant, roles, expires: None }
}

#[test]
fn a_token_proves_what_the_request_only_names() {
    let callers = [
        ("nobody", None),
        ("no claim", Some(caller(TenantProof::None, &[]))),
        ("claims acme", Some(caller(TenantProof::Claim(tenant("acme")), &[]))),
        ("bound to acme", Some(caller(TenantProof::Issuer(tenant("acme")), &[]))),
        ("dev", Some(caller(TenantProof::Any, &[]))),
    ];
    let mut lines = Vec::new();
    for (who, caller) in &callers {
        for named in [None, Some(tenant("acme")), Some(tenant("globex"))] {
            let selected = select_tenant(caller.as_ref(), named.as_ref());
            let decide = |endpoint| match &selected {
                Ok(tenant) => match authorize_tenant(caller.as_ref(), tenant, endpoint) {
                    Ok(Some(_)) => format!("{tenant} as ann"),
                    Ok(None) => format!("{tenant} as a stranger"),
                    Err(denied) => denied.code().to_owned(),
                },
                Err(denied) => denied.code().to_owned(),
            };
            let names = named.as_ref().map_or("nothing", |tenant| tenant.as_str());
            let (closed, open) = (decide(EndpointAuth::Required), decide(EndpointAuth::Open));
            lines.push(format!("{who:<14} names {names:<8} closed: {closed:<18} open: {open}"));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    nobody         names nothing  closed: TENANT_REQUIRED    open: TENANT_REQUIRED
    nobody         names acme     closed: UNAUTHENTICATED    open: acme as a stranger
    nobody         names globex   closed: UNAUTHENTICATED    open: globex as a stranger
    no claim       names nothing  closed: TENANT_REQUIRED    open: TENANT_REQUIRED
    no claim       names acme     closed: FORBIDDEN          open: acme as a stranger
    no claim       names globex   closed: FORBIDDEN          open: globex as a stranger
    claims acme    names nothing  closed: acme as ann        open: acme as ann
    claims acme    names acme     closed: acme as ann        open: acme as ann
    claims acme    names globex   closed: FORBIDDEN          open: FORBIDDEN
    bound to acme  names nothing  closed: acme as ann        open: acme as ann
    bound to acme  names acme     closed: acme as ann        open: acme as ann
    bound to acme  names globex   closed: FORBIDDEN          open: FORBIDDEN
    dev            names nothing  closed: TENANT_REQUIRED    open: TENANT_REQUIRED
    dev            names acme     closed: acme as ann        open: acme as ann
    dev            names globex   closed: globex as ann      open: globex as ann
    "#);
}

#[test]
fn the_rule_holds_without_the_selection_before_it() {
    let acme = caller(TenantProof::Claim(tenant("acme")), &[]);
    for endpoint in [EndpointAuth::Required, EndpointAuth::Open] {
        let denied = authorize_tenant(Some(&acme), &tenant("globex"), endpoint).unwrap_err();
        assert_eq!(denied, Denied::OtherTenant { named: tenant("globex"), proven: tenant("acme") });
    }
}

#[test]
fn any_of_the_roles_will_do() {
    let member = caller(TenantProof::Any, &["Member"]);
    assert_eq!(authorize_roles(Some(&member), &["Admin", "Member"]), Ok(()));
    assert_eq!(authorize_roles(Some(&member), &["Admin", "member"]), Err(Denied::NoRole));
    assert_eq!(authorize_roles::<&str>(None, &[]), Ok(()));
    assert_eq!(authorize_roles(None, &["Admin"]).unwrap_err().code(), "UNAUTHENTICATED");
}
