//! Data → pages and pictures to look at: contact sheets, run reports, search results.
//!
//! Every page is one HTML file that loads nothing: no script, no font, no link, and pictures as
//! `data:` URIs. Rendering is pure; only [`sheet::collect`], [`sheet::write`], [`step::write`]
//! and `report::read_metrics` touch files.

#[cfg(feature = "train")]
mod axis;
#[cfg(feature = "train")]
mod chance;
#[cfg(feature = "train")]
mod metrics;
pub mod page;
#[cfg(feature = "train")]
pub mod pictures;
#[cfg(feature = "train")]
mod plot;
#[cfg(feature = "train")]
pub mod report;
#[cfg(feature = "train")]
pub mod results;
#[cfg(feature = "train")]
pub mod run;
pub mod sheet;
pub mod step;
