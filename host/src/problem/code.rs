//! The table of codes: stable names, their statuses and titles. Each has an entry in docs/troubleshooting.md.

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $title:literal;)*) => {
        /// What went wrong, by its stable name. Names are never changed and never used for something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("`", $name, "`, ", $status, ": ", $title, ".")] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name, as sent in member `code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status; always 4xx or 5xx.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => const { error_status($status) },)* }
            }

            /// What all problems of this code have in common, for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

/// Lets the compiler refuse a table entry that is no error.
const fn error_status(status: u16) -> u16 {
    assert!(status >= 400 && status <= 599);
    status
}

codes! {
    ModuleNotFound "MODULE_NOT_FOUND" 404 "No such module";
    ModuleDependencyMissing "MODULE_DEPENDENCY_MISSING" 409 "A required module is missing";
    ModuleCircularDependency "MODULE_CIRCULAR_DEPENDENCY" 409 "Modules depend on each other in a circle";
    ModuleHasDependents "MODULE_HAS_DEPENDENTS" 409 "Other modules need this one";
    ModuleLoadFailed "MODULE_LOAD_FAILED" 503 "The module could not be loaded";
    ModuleNotEnabled "MODULE_NOT_ENABLED" 403 "The module is not enabled for this tenant";
    FeatureNotEnabled "FEATURE_NOT_ENABLED" 403 "The feature is switched off for this tenant";
    RouteNotFound "ROUTE_NOT_FOUND" 404 "No such route";
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405 "The route has no such method";
    TenantRequired "TENANT_REQUIRED" 400 "The request names no tenant";
    TenantIdInvalid "TENANT_ID_INVALID" 400 "The tenant id is malformed";
    TenantNotFound "TENANT_NOT_FOUND" 404 "No such tenant";
    TenantExists "TENANT_EXISTS" 409 "The tenant exists already";
    TenantSuspended "TENANT_SUSPENDED" 403 "The tenant is suspended";
    Unauthenticated "UNAUTHENTICATED" 401 "A valid token is needed";
    Forbidden "FORBIDDEN" 403 "Not permitted";
    RequestInvalid "REQUEST_INVALID" 400 "The request is malformed";
    BodyTooLarge "BODY_TOO_LARGE" 413 "The request body is too large";
    TooManyRequests "TOO_MANY_REQUESTS" 429 "Too many requests at once";
    TooManyConnections "TOO_MANY_CONNECTIONS" 503 "Too many connections at once";
    ModulePanicked "MODULE_PANICKED" 500 "The module crashed while answering";
    ModuleTimeout "MODULE_TIMEOUT" 504 "The module took too long";
    ModuleQuarantined "MODULE_QUARANTINED" 503 "The module is kept from running";
    ModuleBusy "MODULE_BUSY" 503 "The module is not ready to answer";
    ModuleDuplicate "MODULE_DUPLICATE" 409 "The same module and version is there twice";
    ModuleIncompatible "MODULE_INCOMPATIBLE" 409 "The module does not fit this host";
    ModuleVersionUnsatisfiable "MODULE_VERSION_UNSATISFIABLE" 409 "No version fits all requirements";
    DependencyNotOffered "DEPENDENCY_NOT_OFFERED" 409 "The other module is not offered to this one";
    ManifestInvalid "MANIFEST_INVALID" 422 "The module's manifest is invalid";
    RouteConflict "ROUTE_CONFLICT" 409 "Another module has the same base path";
    FlagNotFound "FLAG_NOT_FOUND" 404 "No such flag";
    FlagInvalid "FLAG_INVALID" 422 "The flag's name or value is invalid";
    FlagsInFile "FLAGS_IN_FILE" 409 "The host's flag definitions are kept in a file";
    SettingsInvalid "SETTINGS_INVALID" 422 "The settings do not fit the module";
    ApiKeyNotFound "API_KEY_NOT_FOUND" 404 "No such API key";
    TooManyApiKeys "TOO_MANY_API_KEYS" 409 "The tenant has as many API keys as it may";
    DeadLetterNotFound "DEAD_LETTER_NOT_FOUND" 404 "No such dead letter";
    PreconditionFailed "PRECONDITION_FAILED" 412 "It was changed in the meantime";
    PreconditionRequired "PRECONDITION_REQUIRED" 428 "The request must say which revision it is based on";
    StoreUnavailable "STORE_UNAVAILABLE" 503 "The store is unavailable";
    ShuttingDown "SHUTTING_DOWN" 503 "The host is shutting down";
    Internal "INTERNAL" 500 "Internal error";
}
