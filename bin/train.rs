//! Fine-tune CLIP from shards.

use std::process::ExitCode;

use clap::Parser;
use pairmill::cli::train::Args;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    args.run()
}
