//! `export_module!` and what stands behind it: the library's root, and the shim that guards each entry.

#![expect(unsafe_code, reason = "makes the header that abi_stable's loader looks for")]

use std::{marker::PhantomData, mem::ManuallyDrop};

use abi_stable::{
    erased_types::TD_Opaque,
    library::{CheckTypeLayout, LibHeader, RootModuleResult},
    prefix_type::{PrefixRefTrait, WithMetadata},
    std_types::{RResult, RString, RVec},
};
use async_ffi::{BorrowingFfiFuture, FfiContext, FutureExt};

use crate::{
    abi::{
        ENTRY_SYMBOL, HostBox, Initialized, LogBox, RawEvent, RawFailure, RawInstance, RawInstance_TO, RawPoll,
        RawRoute, ReqPtr, Root, RootRef,
    },
    error::{Result, internal},
    event::Event,
    guard::{Guarded, guard, install_quiet_hook},
    handler::Erased,
    log,
    module::Module,
    request::Request,
    response::Response,
    routes::Routes,
    tenant::Tenant,
};

/// Makes a crate a module: embeds `module.toml` and the stamp, and exports the entry that the host looks for.
///
/// Takes the type that implements [`Module`](crate::Module), and the manifest's path under the crate's folder
/// where it is not `module.toml`.
#[macro_export]
macro_rules! export_module {
    ($module:ty) => {
        $crate::export_module!($module, "module.toml");
    };
    ($module:ty, $manifest:literal) => {
        const _: () = {
            #[cfg(panic = "abort")]
            ::core::compile_error!(
                "a Tenon module must be built with panic = \"unwind\": a panic must end one request, not the host"
            );

            const MANIFEST_TEXT: &[u8] =
                ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", $manifest));

            #[used]
            #[unsafe(link_section = ".tenon_manifest")]
            static MANIFEST: [u8; MANIFEST_TEXT.len()] = $crate::__private::section(MANIFEST_TEXT);

            #[used]
            #[unsafe(link_section = ".tenon_stamp")]
            static STAMP: $crate::__private::Stamp = $crate::__private::module_stamp(
                if ::core::cfg!(panic = "unwind") { "unwind" } else { "abort" },
                [
                    ::core::env!("CARGO_PKG_NAME"),
                    ::core::env!("CARGO_PKG_VERSION"),
                    ::core::env!("CARGO_PKG_DESCRIPTION"),
                    ::core::env!("CARGO_PKG_AUTHORS"),
                    ::core::env!("CARGO_PKG_LICENSE"),
                ],
            );

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: $crate::__private::Header = $crate::__private::header::<$module>();
        };
    };
}

// The macro must write the name out; this keeps it abi_stable's.
const _: () = {
    let (ours, theirs) = (b"_1as_0lib_1header_0root_bmodule_bloader", ENTRY_SYMBOL.as_bytes());
    assert!(ours.len() == theirs.len());
    let mut at = 0;
    while at < ours.len() {
        assert!(ours[at] == theirs[at]);
        at += 1;
    }
};

/// The type of the exported header.
pub type Header = LibHeader;

/// Copies a slice of a known length into an array, for a link section.
pub const fn section<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let mut at = 0;
    while at < N {
        out[at] = bytes[at];
        at += 1;
    }
    out
}

/// The stamp of a module: this crate's texts, the panic strategy, then the module's own.
pub const fn module_stamp(panic: &str, own: [&str; 5]) -> crate::stamp::Stamp {
    let [api, rustc, target] = crate::stamp::API_TEXTS;
    let [name, version, description, authors, license] = own;
    crate::stamp::stamp([api, rustc, target, panic, name, version, description, authors, license])
}

/// The header that the host looks for in the library.
pub const fn header<M: Module>() -> Header {
    // SAFETY: `RootOf::construct` returns a `PrefixRef<_>` that was cast from the one of `RootRef`.
    unsafe { LibHeader::from_constructor::<RootRef>(RootOf::<M>::construct, CheckTypeLayout::Yes) }
}

struct RootOf<M>(PhantomData<M>);

impl<M: Module> RootOf<M> {
    // A promoted constant: made once per library without an allocation that an unload would leak.
    const ROOT: &'static WithMetadata<Root> =
        &WithMetadata::new(Root { attach, detach, routes: routes::<M>, initialize: initialize::<M> });

    extern "C" fn construct() -> RootModuleResult {
        let root = RootRef(Self::ROOT.static_as_prefix());
        // SAFETY: the loader casts the erased reference back to `RootRef` only after it compared layouts.
        RResult::ROk(unsafe { root.to_prefix_ref().cast() })
    }
}

extern "C" fn attach(log: LogBox) {
    let _ = guard(|| {
        install_quiet_hook();
        log::attach(log);
    });
}

extern "C" fn detach() {
    let _ = guard(log::detach);
}

pub(crate) extern "C" fn routes<M: Module>() -> RResult<RVec<RawRoute>, RawFailure> {
    let named = guard(|| {
        let routes = Routes::<M>::of_module();
        routes
            .entries
            .iter()
            .map(|entry| RawRoute {
                method: RString::from(entry.method.as_str()),
                path: RString::from(entry.path.as_str()),
            })
            .collect()
    });
    RResult::from(named)
}

pub(crate) extern "C" fn initialize<M: Module>(host: HostBox) -> Initialized {
    // Whatever the author does before the first await happens inside the guarded poll as well.
    let making = Box::pin(async move {
        let tenant = Tenant::new(host);
        let handlers = Routes::<M>::of_module().entries.into_iter().map(|entry| entry.handler).collect();
        let module = M::initialize(tenant).await?;
        Ok(RawInstance_TO::from_value(Shim { module: ManuallyDrop::new(module), handlers }, TD_Opaque))
    });
    let guarded = Guarded::new(making);
    async move {
        match guarded.await {
            RResult::ROk(Ok(instance)) => RResult::ROk(instance),
            RResult::ROk(Err(error)) => RResult::RErr(crate::Error::into_raw(error)),
            RResult::RErr(failure) => RResult::RErr(failure),
        }
    }
    .into_ffi()
}

/// An instance and its table of handlers.
struct Shim<M: Module> {
    // Dropped by hand, so that a panic in the author's drop is caught.
    module: ManuallyDrop<M>,
    handlers: Box<[Erased<M>]>,
}

fn outcome(result: Result<Response>) -> RResult<crate::abi::RawReply, RawFailure> {
    match result {
        Ok(response) => RResult::ROk(response.into_raw()),
        Err(error) => RResult::RErr(error.into_raw()),
    }
}

impl<M: Module> RawInstance for Shim<M> {
    fn call<'a>(&'a self, request: ReqPtr, cx: &mut FfiContext<'_>) -> RawPoll<'a> {
        let begun = guard(|| {
            let request = Request::new(request);
            let handler = self.handlers.get(request.route())?;
            Some(handler(&self.module, request))
        });
        let mut guarded = match begun {
            Ok(Some(future)) => Guarded::new(future),
            Ok(None) => {
                return RawPoll::Ready(RResult::RErr(internal("the host asked for a route that does not exist")));
            }
            Err(failure) => return RawPoll::Ready(RResult::RErr(failure)),
        };
        match cx.with_context(|cx| std::pin::Pin::new(&mut guarded).poll(cx)) {
            std::task::Poll::Ready(done) => RawPoll::Ready(flatten(done)),
            std::task::Poll::Pending => RawPoll::Pending(async move { flatten(guarded.await) }.into_ffi()),
        }
    }

    fn on_event<'a>(&'a self, event: RawEvent) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>> {
        let module: &'a M = &self.module;
        hook(async move { module.on_event(Event::new(event)).await })
    }

    fn on_wake<'a>(&'a self, key: RString) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>> {
        let module: &'a M = &self.module;
        hook(async move { module.on_wake(key.into_string()).await })
    }

    fn settings_changed<'a>(&'a self) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>> {
        let module: &'a M = &self.module;
        hook(async move { module.settings_changed().await })
    }

    fn health<'a>(&'a self) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>> {
        let module: &'a M = &self.module;
        hook(async move { module.health().await })
    }

    fn cleanup<'a>(&'a self) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>> {
        let module: &'a M = &self.module;
        // The author's synchronous part runs inside the poll, so the guard covers it too.
        Guarded::new(Box::pin(async move { module.cleanup().await })).into_ffi()
    }
}

/// A hook of the author's as the host gets it. What is synchronous in it runs inside the poll, guarded too.
fn hook<'a>(work: impl Future<Output = Result<()>> + Send + 'a) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>> {
    let guarded = Guarded::new(Box::pin(work));
    async move {
        match guarded.await {
            RResult::ROk(Ok(())) => RResult::ROk(()),
            RResult::ROk(Err(error)) => RResult::RErr(error.into_raw()),
            RResult::RErr(failure) => RResult::RErr(failure),
        }
    }
    .into_ffi()
}

fn flatten(done: RResult<Result<Response>, RawFailure>) -> RResult<crate::abi::RawReply, RawFailure> {
    match done {
        RResult::ROk(result) => outcome(result),
        RResult::RErr(failure) => RResult::RErr(failure),
    }
}

impl<M: Module> Drop for Shim<M> {
    fn drop(&mut self) {
        let module = &mut self.module;
        // SAFETY: `drop` runs once and nothing reads `module` after it.
        if let Err(failure) = guard(|| unsafe { ManuallyDrop::drop(module) }) {
            tracing::error!(place = %failure.place, "an instance panicked while it was dropped: {}", failure.message);
        }
        let handlers = std::mem::take(&mut self.handlers);
        let _ = guard(|| drop(handlers));
    }
}
