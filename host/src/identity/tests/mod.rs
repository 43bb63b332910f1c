//! Tests of room `identity`, through its public boundary, with keys and a clock of their own.

mod access;
mod admin_token;
mod headers;
mod key_sets;
mod keys;
mod tokens;
