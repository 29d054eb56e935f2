//! The developer's commands, one subcommand a file: `cargo xtask --help`.

mod apt;
mod audit;
mod bench;
mod clients;
mod database;
mod deny;
mod down;
mod explain;
mod gateway;
mod local_state;
mod migrate;
mod operator;
mod progress;
mod project;
mod reset;
mod seed;
mod spin;
mod sql;
mod stores;
mod test;
#[cfg(test)]
mod tidy;
mod up;
mod wasm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The developer's commands of sugang.
///
/// `cargo xtask up` runs the whole service on this machine; `cargo xtask test` runs every check and test.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Install missing packages with apt without a question.
    #[arg(long, global = true)]
    yes: bool,
}

#[derive(Subcommand)]
enum Command {
    Audit(audit::Arguments),
    Bench(bench::Arguments),
    Build(wasm::Arguments),
    Down(down::Arguments),
    Explain(explain::Arguments),
    Gateway(gateway::Arguments),
    Migrate(migrate::Arguments),
    Operator(operator::Arguments),
    Reset(reset::Arguments),
    Seed(seed::Arguments),
    Sql(sql::Arguments),
    Stores(stores::Arguments),
    Test(test::Arguments),
    Up(up::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command, yes } = Arguments::parse();
    apt::set_yes(yes);
    let outcome = match command {
        Command::Audit(arguments) => audit::run(&arguments).await,
        Command::Bench(arguments) => bench::run(&arguments).await,
        Command::Build(arguments) => wasm::run(&arguments).await,
        Command::Down(arguments) => down::run(&arguments).await,
        Command::Explain(arguments) => explain::run(&arguments).await,
        Command::Gateway(arguments) => gateway::run(&arguments).await,
        Command::Migrate(arguments) => migrate::run(&arguments).await,
        Command::Operator(arguments) => operator::run(&arguments).await,
        Command::Reset(arguments) => reset::run(&arguments).await,
        Command::Seed(arguments) => seed::run(&arguments).await,
        Command::Sql(arguments) => sql::run(&arguments).await,
        Command::Stores(arguments) => stores::run(&arguments).await,
        Command::Test(arguments) => test::run(&arguments).await,
        Command::Up(arguments) => up::run(&arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", console::style("error:").red().bold().for_stderr());
            ExitCode::from(sugang_migrations::exit_status(&error))
        }
    }
}
