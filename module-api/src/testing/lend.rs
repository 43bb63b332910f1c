//! Lends a test's request to a module, through the same interface as a host's.

#![expect(unsafe_code, reason = "gives out pointers into a request that the module holds")]

use std::{ffi::c_void, mem::MaybeUninit};

use abi_stable::std_types::{ROption, RSlice, RStr};

use crate::abi::{RawCall, RawRequest, ReqPtr};

/// A request that has passed the guards.
#[derive(Debug)]
pub(super) struct Incoming {
    /// An index into the routes of the code.
    pub(super) route: u32,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) id: String,
    pub(super) user: Option<String>,
    pub(super) roles: Vec<String>,
    pub(super) params: Vec<(String, String)>,
    pub(super) deadline_millis: i64,
    /// Which instance it is lent to.
    pub(super) instance: u64,
}

/// A request and the view of it, which points into the request: hence always in a box of its own.
struct Lent {
    incoming: Incoming,
    raw: MaybeUninit<RawRequest>,
}

/// Lends a request until the returned value is dropped, wherever that is.
pub(super) fn lend(incoming: Incoming) -> ReqPtr {
    let lent = Box::into_raw(Box::new(Lent { incoming, raw: MaybeUninit::uninit() }));
    // SAFETY: the box was just made and lives until `release`. `incoming` is only read from here on; `raw`, a
    // field beside it, is written once below, before anybody else has the pointer.
    let incoming: &'static Incoming = unsafe { &(*lent).incoming };
    let raw = RawRequest {
        route: incoming.route,
        deadline_millis: incoming.deadline_millis,
        method: RStr::from_str(&incoming.method),
        path: RStr::from_str(&incoming.path),
        query: RStr::from_str(&incoming.query),
        body: RSlice::from_slice(&incoming.body),
        request_id: RStr::from_str(&incoming.id),
        subject: incoming.user.as_deref().map(RStr::from_str).into(),
        context: lent.cast_const().cast(),
        header,
        param,
        role,
        release,
    };
    // SAFETY: `lent` is valid and nobody reads `raw` yet. The result stays valid, immutable and readable from
    // any thread until `release`: `Incoming` is `Sync`, which is checked below.
    unsafe {
        let place = &raw mut (*lent).raw;
        (*place).write(raw);
        ReqPtr::new(place.cast_const().cast())
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Incoming>();
};

/// In whose name a call is made.
#[derive(Debug)]
pub(super) struct Behalf {
    pub(super) user: Option<String>,
    pub(super) roles: Vec<String>,
    /// The request's id.
    pub(super) id: String,
}

/// Who sent the request that a call shows; `None` where it was made to another instance. The call names one, and it
/// comes from module-api's [`crate::ModuleCall`].
pub(super) fn behalf(call: &RawCall, instance: u64) -> Option<Behalf> {
    // SAFETY: `ModuleCall::send` takes the context from a `Request` that it borrows until the host's `call` returns,
    // and here the only requests are those of `lend`.
    let incoming = unsafe { incoming(call.behalf) };
    (incoming.instance == instance).then(|| Behalf {
        user: incoming.user.clone(),
        roles: incoming.roles.clone(),
        id: incoming.id.clone(),
    })
}

/// The request behind a context.
///
/// # Safety
///
/// `context` is the one of a `RawRequest` that was not released.
unsafe fn incoming(context: *const c_void) -> &'static Incoming {
    // SAFETY: `lend` made the context from a box that lives until `release`.
    unsafe { &(*context.cast::<Lent>()).incoming }
}

extern "C" fn header(context: *const c_void, name: RStr<'_>) -> ROption<RStr<'static>> {
    // SAFETY: called through a request that the module holds, hence before `release`.
    let incoming = unsafe { incoming(context) };
    first(&incoming.headers, name.as_str())
}

extern "C" fn param(context: *const c_void, name: RStr<'_>) -> ROption<RStr<'static>> {
    // SAFETY: as in `header`.
    let incoming = unsafe { incoming(context) };
    first(&incoming.params, name.as_str())
}

extern "C" fn role(context: *const c_void, index: usize) -> ROption<RStr<'static>> {
    // SAFETY: as in `header`.
    let incoming = unsafe { incoming(context) };
    incoming.roles.get(index).map(|role| RStr::from_str(role)).into()
}

extern "C" fn release(context: *const c_void) {
    // SAFETY: `ReqPtr` calls this once, when nobody reads the request any more; the box is `lend`'s. The view
    // needs no drop: it owns nothing.
    drop(unsafe { Box::from_raw(context.cast_mut().cast::<Lent>()) });
}

fn first(pairs: &'static [(String, String)], name: &str) -> ROption<RStr<'static>> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| RStr::from_str(value)).into()
}
