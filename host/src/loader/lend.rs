//! Lends a request to a module: one allocation, nothing copied. The module looks headers, parameters and
//! roles up through functions, so what it does not read costs nothing.

#![expect(unsafe_code, reason = "gives out pointers into a request that the module holds")]

use std::{ffi::c_void, mem::MaybeUninit, sync::Arc};

use abi_stable::std_types::{ROption, RSlice, RStr};
use module_api::abi::{RawRequest, ReqPtr};

use super::{
    call::CallRequest,
    forwarded::{Forwarded, is_of_proxies},
    services::Behalf,
};

/// A request and the view of it, which points into the request: hence always in a box of its own.
struct Lent {
    request: CallRequest,
    /// The number of the instance it was made to.
    instance: u64,
    raw: MaybeUninit<RawRequest>,
}

/// Lends a request until the returned value is dropped, wherever that is.
pub(super) fn lend(request: CallRequest, instance: u64) -> ReqPtr {
    let lent = Box::into_raw(Box::new(Lent { request, instance, raw: MaybeUninit::uninit() }));
    // SAFETY: the box was just made, lives until `release`, and from here on is only read, but for `raw`,
    // which is written once below, before anybody else has the pointer.
    let request: &'static CallRequest = unsafe { &(*lent).request };
    let raw = RawRequest {
        route: request.route,
        deadline_millis: request.deadline_millis,
        method: RStr::from_str(request.parts.method.as_str()),
        path: RStr::from_str(request.parts.uri.path()),
        query: RStr::from_str(request.parts.uri.query().unwrap_or("")),
        body: RSlice::from_slice(&request.body),
        request_id: RStr::from_str(&request.request_id),
        subject: request.subject.as_deref().map(RStr::from_str).into(),
        context: lent.cast_const().cast(),
        header,
        param,
        role,
        release,
    };
    // SAFETY: `lent` is valid and nobody reads `raw` yet; the fields are disjoint from `request`. The result
    // stays valid, immutable and readable from any thread until `release`: `CallRequest` is `Sync`.
    unsafe {
        let place = &raw mut (*lent).raw;
        (*place).write(raw);
        ReqPtr::new(place.cast_const().cast())
    }
}

// `lend` promises that a request is readable from any thread and may be freed on any.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<CallRequest>();
};

/// In whose name a module asks that shows a request it holds; `None` where the request was made to another instance.
///
/// # Safety
///
/// `context` is the one of a `RawRequest` that is not released before this returns.
pub(super) unsafe fn behalf(context: *const c_void, instance: u64) -> Option<Behalf> {
    // SAFETY: `lend` made the context from a box that lives until `release`.
    let lent = unsafe { &*context.cast::<Lent>() };
    (lent.instance == instance).then(|| Behalf {
        subject: lent.request.subject.clone(),
        roles: Arc::clone(&lent.request.roles),
        request_id: Arc::clone(&lent.request.request_id),
        deadline_millis: lent.request.deadline_millis,
        depth: lent.request.depth,
    })
}

/// The request behind a context.
///
/// # Safety
///
/// `context` is the one of a `RawRequest` that was not released.
unsafe fn request(context: *const c_void) -> &'static CallRequest {
    // SAFETY: `lend` made the context from a box that lives until `release`.
    unsafe { &(*context.cast::<Lent>()).request }
}

extern "C" fn header(context: *const c_void, name: RStr<'_>) -> ROption<RStr<'static>> {
    // SAFETY: called through a request that the module holds, hence before `release`.
    let request = unsafe { request(context) };
    if is_of_proxies(name.as_str()) {
        let vouched = request.parts.extensions.get::<Forwarded>();
        return vouched.and_then(|forwarded| forwarded.header(name.as_str())).map(RStr::from_str).into();
    }
    let value = request.parts.headers.get(name.as_str());
    value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).map(RStr::from_str).into()
}

extern "C" fn param(context: *const c_void, name: RStr<'_>) -> ROption<RStr<'static>> {
    // SAFETY: as in `header`.
    let request = unsafe { request(context) };
    let found = request.params.iter().find(|(known, _)| **known == *name.as_str());
    found.map(|(_, value)| RStr::from_str(value)).into()
}

extern "C" fn role(context: *const c_void, index: usize) -> ROption<RStr<'static>> {
    // SAFETY: as in `header`.
    let request = unsafe { request(context) };
    request.roles.get(index).map(|role| RStr::from_str(role)).into()
}

extern "C" fn release(context: *const c_void) {
    // SAFETY: `ReqPtr` calls this once, when nobody reads the request any more; the box is `lend`'s. The view
    // needs no drop: it owns nothing.
    drop(unsafe { Box::from_raw(context.cast_mut().cast::<Lent>()) });
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn given() -> (CallRequest, Arc<str>) {
        let request = http::Request::builder()
            .method("PURGE")
            .uri("/a/b%20c?q=1")
            .header("x-one", "1")
            .header("x-one", "2")
            .header("x-latin", http::HeaderValue::from_bytes(b"\xe4").unwrap())
            .body(())
            .unwrap();
        let id: Arc<str> = Arc::from("id-1");
        let request = CallRequest {
            route: 3,
            parts: request.into_parts().0,
            body: Bytes::from_static(b"body"),
            params: vec![(Arc::from("id"), "ä b".to_owned())],
            request_id: Arc::clone(&id),
            subject: Some(Arc::from("anna")),
            roles: Arc::from([Arc::from("Admin"), Arc::from("Member")]),
            deadline_millis: 17,
            depth: 0,
        };
        (request, id)
    }

    #[test]
    fn a_lent_request_reads_as_it_was_and_goes_when_it_is_released_on_another_thread() {
        let (request, id) = given();
        let lent = lend(request, 1);
        std::thread::spawn(move || {
            let raw = lent.get();
            assert_eq!((raw.route, raw.deadline_millis), (3, 17));
            assert_eq!((raw.method.as_str(), raw.path.as_str()), ("PURGE", "/a/b%20c"));
            assert_eq!((raw.query.as_str(), raw.body.as_slice()), ("q=1", b"body".as_slice()));
            assert_eq!(raw.subject.map(|name| name.as_str()).into_option(), Some("anna"));
            let header = |name: &str| (raw.header)(raw.context, name.into()).map(|value| value.as_str()).into_option();
            assert_eq!(header("x-one"), Some("1"));
            assert_eq!(header("x-latin"), None);
            assert_eq!(header("no such\nname"), None);
            let param = |name: &str| (raw.param)(raw.context, name.into()).map(|value| value.as_str()).into_option();
            assert_eq!((param("id"), param("other")), (Some("ä b"), None));
            let role = |at| (raw.role)(raw.context, at).map(|value| value.as_str()).into_option();
            assert_eq!((role(0), role(1), role(2)), (Some("Admin"), Some("Member"), None));
        })
        .join()
        .unwrap();
        assert_eq!(Arc::strong_count(&id), 1);
    }

    #[test]
    fn of_what_proxies_say_a_module_sees_only_what_the_host_vouches_for() {
        let names = ["x-forwarded-for", "X-Forwarded-Host", "x-forwarded-proto", "x-forwarded-user", "forwarded"];
        let seen = |vouched: Option<Forwarded>| {
            let mut request = given().0;
            for name in names {
                request
                    .parts
                    .headers
                    .insert(name.to_ascii_lowercase().parse::<http::HeaderName>().unwrap(), "forged".parse().unwrap());
            }
            request.parts.extensions.extend(
                vouched
                    .map(|it| {
                        let mut extensions = http::Extensions::new();
                        extensions.insert(it);
                        extensions
                    })
                    .unwrap_or_default(),
            );
            let lent = lend(request, 1);
            let raw = lent.get();
            let value = |name: &str| (raw.header)(raw.context, name.into()).map(|value| value.as_str().to_owned());
            names.map(|name| value(name).into_option())
        };
        assert_eq!(seen(None), [None, None, None, None, None]);
        let vouched = Forwarded {
            client: Some("192.0.2.1".to_owned()),
            host: Some("a.example".to_owned()),
            proto: Some("https"),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(seen(Some(vouched)), [some("192.0.2.1"), some("a.example"), some("https"), None, None]);
    }
}
