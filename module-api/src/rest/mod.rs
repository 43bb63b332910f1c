//! Small parts for modules whose routes are resources: what a client sent wrongly, told at once; the parameters and
//! pages of a listing; `ETag` and `If-Match`. Nothing here needs the host; a module may do without all of it.

mod params;
mod problems;
mod revision;

pub use params::{Listing, Params, cursor_or, foreign_cursor};
pub use problems::Problems;
pub use revision::{IfMatch, etag};
