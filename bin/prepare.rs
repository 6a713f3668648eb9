//! `prepare`: photos and captions → Parquet shards.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use pairmill::cli::next;
use pairmill::cli::prepare::Args;
use pairmill::prepare;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let verbosity = args.verbosity();
    let config = args.resolve()?;
    let summary = prepare::run(&config, verbosity)?;
    match write!(io::stdout(), "{summary}{}", next::commands(&summary)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()), // the reader has seen enough
        written => Ok(written?),
    }
}
