//! Module hr-core.
