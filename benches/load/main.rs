//! The load generator of `benches/run.py`: drives an echo server and says on one line of JSON what it saw.
//!
//! It checks every byte that comes back. One thread, so that a server has the other cores of the machine; frames are
//! made before the clock starts and compared without being parsed, so that it costs less than any server.

mod echo;
mod process;
mod rounds;
mod wire;

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

/// What goes wrong here ends the program; the text is for people.
type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Messages that come back, on connections that stay open.
    Echo(echo::Options),
    /// Connections that are opened, echo one message and are closed.
    Connect(rounds::ConnectOptions),
    /// Connections that do nothing; then each of them must still answer.
    Idle(rounds::IdleOptions),
    /// One connection sends, all others must get it.
    Broadcast(rounds::BroadcastOptions),
    /// Writes a self-signed certificate for localhost and its key to one file.
    Certificate {
        /// The PEM file to write.
        path: PathBuf,
    },
}

/// The server.
#[derive(Args, Clone)]
struct Target {
    /// Its port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Its process; CPU time and memory are those of it and its children.
    #[arg(long)]
    pid: u32,
    /// The resource to ask for.
    #[arg(long, default_value = "/echo")]
    resource: String,
    /// Talk TLS; any certificate will do.
    #[arg(long)]
    tls: bool,
}

/// How long to measure.
#[derive(Args, Clone, Copy)]
struct Clock {
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
}

impl Clock {
    fn warm_up(self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    fn measured(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// What the messages are.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Text frames of ASCII.
    Text,
    /// Binary frames.
    Binary,
    /// JSON as text, with permessage-deflate both ways.
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.work) {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: Work) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match work {
            Work::Echo(options) => echo::run(options).await,
            Work::Connect(options) => rounds::connect(options).await,
            Work::Idle(options) => rounds::idle(options).await,
            Work::Broadcast(options) => rounds::broadcast(options).await,
            Work::Certificate { path } => {
                let names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
                let made = rcgen::generate_simple_self_signed(names)?;
                std::fs::write(path, made.cert.pem() + &made.signing_key.serialize_pem())?;
                Ok(Value::Null)
            }
        }
    })
}
