//! The end-to-end tests, one binary. Each file is a story; what they share is the library of this package.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Files that are no modules for this host.
mod bad_files;
/// Modules that can't run among those that are there.
mod bad_graphs;
/// Requests that can't be served.
mod bad_requests;
/// Modules ask each other.
mod calls;
/// Every command once.
mod commands;
/// Modules that do not give their threads back, and modules that flood.
mod containment;
/// The library in somebody else's program.
mod embedding;
/// Web pages of other origins.
mod cors;
/// A host ends in order.
mod ending;
/// Events and wake-ups reach modules without a request.
mod events;
/// Programs around the library, as its examples show them.
mod examples;
/// Flags that operators define for all tenants.
mod flag_definitions;
/// Programs, hosts, requests, and modules damaged on purpose.
mod harness;
/// Issuers publish their keys, and change them.
mod key_sets;
/// Operators read the folder, start with modules off, and restart without losing anybody.
mod restart;
/// Nothing of one tenant reaches another.
mod isolation;
/// kill -9 during writes.
mod kills;
/// Events and wake-ups in `module_api::testing` come as the host's do.
mod kit_deliveries;
/// The store of `module_api::testing` answers as the host's does.
mod kit_store;
/// Tenants and instances come and go.
mod lifecycle;
/// Handlers that take too long, panic, or are too many at once.
mod limits;
/// A module's file becomes an answer, or an error with nothing left behind.
mod loader_calls;
/// An older, an equal and a newer module on this host.
mod loader_growth;
/// What a module logs comes out in the host's log.
mod loader_log;
/// The real modules come and go a thousand times.
mod loader_modules;
/// Panics of a module end one request.
mod loader_panics;
/// A module that is out of use is gone, or reported with the reason.
mod loader_unload;
/// Everything moves from one store to another.
mod moving;
/// Inputs from outside, each damaged in 20,000 ways.
mod mutations;
/// Clients ask for flags by OpenFeature's protocol.
mod ofrep;
/// OpenFeature's own clients ask for flags.
mod ofrep_clients;
/// Clients are told when to ask for flags again.
mod ofrep_events;
/// Clients prove their tenant with keys.
mod ofrep_keys;
/// Modules call hosts outside.
mod outbound;
/// Who may say for whom a request is.
mod proxies;
/// Servers of stores are killed and come back.
mod servers;
mod several_hosts;
/// The benchmark of several hosts, in short.
mod several_hosts_measured;
/// A tenant's settings for a module.
mod settings;
/// Files are replaced under load, and every answer is checked.
mod soak;
/// Where the fixtures are, and a loader with threads to run them on.
mod stage;
/// Flags that operators define for all tenants, kept in the store.
mod stored_definitions;
/// The store is away.
mod store_away;
/// Files are replaced by better and by worse ones.
mod reloads;
/// Patients, and clinicians who never have two appointments at once.
mod story_clinic;
/// Departments and employees of a tenant.
mod story_hr;
/// Mail goes out once, whatever happens to the server and the host.
mod story_mail;
/// A module is enabled and disabled, its features are switched.
mod story_tasks;
/// Who is believed.
mod tokens;
/// Two hosts share one store.
mod two_hosts;
/// The folder of a running host.
mod watching;
