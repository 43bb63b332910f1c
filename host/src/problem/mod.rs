//! Room problem.
