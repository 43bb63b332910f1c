//! Room manifest.
