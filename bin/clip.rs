//! Use a trained run.

use std::process::ExitCode;

use clap::Parser;
use pairmill::cli::clip::Args;

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
