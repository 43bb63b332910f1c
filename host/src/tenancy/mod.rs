//! Room tenancy.
