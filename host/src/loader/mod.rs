//! Room loader.
