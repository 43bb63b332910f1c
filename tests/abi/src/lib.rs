//! Built three ways by the ABI growth tests.
