//! `shards`: look at, check and convert shards.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use pairmill::cli::shards::{Args, run};

fn main() -> ExitCode {
    match shards(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS, // the reader has seen enough
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn shards(args: Args) -> Result<()> {
    let command = args.resolve()?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    run(command, &mut out)?;
    Ok(out.flush()?)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
