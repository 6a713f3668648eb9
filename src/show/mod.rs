//! Data → pages and pictures to look at: contact sheets, run reports, search results.
//!
//! Every page is one HTML file that loads nothing: no script, no font, no link, and pictures as
//! `data:` URIs. Rendering is pure; only [`sheet::collect`], [`sheet::write`] and
//! [`report::read_metrics`] touch files.

mod axis;
mod chance;
mod metrics;
pub mod page;
pub mod pictures;
mod plot;
pub mod report;
pub mod results;
#[cfg(feature = "train")]
pub mod run;
pub mod sheet;
